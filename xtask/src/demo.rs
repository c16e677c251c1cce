//! `cargo xtask demo`: the page and the cloud side of it, on this machine.

use std::net::TcpListener;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::shell::{self, say};
use crate::{build, docs, tools};

#[derive(Args)]
pub struct Options {
    /// The port to listen on; the next free one if it is taken
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The address to listen on; 0.0.0.0 lets a phone on the same network in
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    #[command(flatten)]
    build: build::Options,
}

pub fn run(options: &Options) -> Result<()> {
    tools::wasm_target()?;
    build::run(&options.build)?;
    docs::site()?;
    say("Building the server");
    server()?;
    let port = free_port(&options.host, options.port)?;
    if port != options.port {
        say(&format!("Port {} is taken, using {port}", options.port));
    }
    let shown = if options.host == "0.0.0.0" { "localhost" } else { &options.host };
    say(&format!("\n  Nearside demo: http://{shown}:{port}/\n  Ctrl-C stops it.\n"));
    let mut serve = shell::command(shell::target().join("release/nearside"));
    serve.args(["serve", "models", "--host", &options.host, "--port", &port.to_string(), "--static", "www/dist"]);
    // Ctrl-C reaches the server too, which finishes what it is doing; its end is the end of the demo.
    serve.status().context("cannot start the server")?;
    Ok(())
}

/// Builds the server with the features of the release tests, so that both share one build of tract.
pub fn server() -> Result<()> {
    shell::quiet("server", shell::cargo().args(["build", "--release", "--locked", "--features", "serve", "--bin", "nearside"]))
}

fn free_port(host: &str, first: u16) -> Result<u16> {
    for port in first..first.saturating_add(50) {
        if TcpListener::bind((host, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {first} to {} is free on {host}", first.saturating_add(49))
}
