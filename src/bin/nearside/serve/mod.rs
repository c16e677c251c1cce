//! `nearside serve`: the cloud side. A folder of models over the Open Inference Protocol (KServe v2), on HTTP.

mod body;
mod error;
mod protocol;
mod queue;
mod repository;
mod routes;
mod simulate;
mod tensors;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};

use queue::Queue;
use repository::Repository;

#[derive(clap::Args)]
pub struct Args {
    /// The folder that holds the models: NAME.onnx or NAME.plan files
    models: PathBuf,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: std::net::IpAddr,
    /// The port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Predictions computed at the same time; as many as there are cores if not given
    #[arg(long)]
    workers: Option<usize>,
    /// Predictions that may wait for a worker; beyond that the answer is 503 with Retry-After
    #[arg(long, default_value_t = 64)]
    queue: usize,
    /// Largest accepted request body, in bytes
    #[arg(long, default_value_t = 64 << 20)]
    max_body: usize,
    /// A folder of static files to serve at /, with the headers that make a page cross-origin isolated; pages named one-thread.html go without
    #[arg(long = "static", value_name = "DIR")]
    static_dir: Option<PathBuf>,
}

/// What every request handler shares.
struct App {
    repository: Repository,
    queue: Queue,
    max_body: usize,
}

pub fn run(args: Args) -> Result<()> {
    let repository = Repository::open(&args.models)?;
    let workers = args.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let app = Arc::new(App { repository, queue: Queue::new(workers, args.queue), max_body: args.max_body });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let address = SocketAddr::new(args.host, args.port);
        let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        println!("serving {} on http://{}", app.repository.names().join(", "), listener.local_addr()?);
        let router = routes::router(app, args.static_dir.as_deref());
        axum::serve(listener, router.into_make_service()).with_graceful_shutdown(stop_signal()).await?;
        println!("stopped");
        Ok(())
    })
}

/// Resolves on Ctrl-C and on SIGTERM, after which running requests are finished and new ones refused.
async fn stop_signal() {
    let interrupt = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! { () = interrupt => {}, () = terminate => {} }
}
