//! Child processes that run cases: each gets one job at a time, and is replaced when it crashes, hangs or runs out of memory.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::Duration,
};

use anyhow::{Context, Result};

use super::{Job, Status, Verdict};

/// What a case may use.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Limits {
    /// Seconds that a case may take
    #[arg(long, default_value_t = 60)]
    pub timeout: u64,
    /// MB of address space that a case may use; 0 for no limit. Unix only
    #[arg(long, default_value_t = 4096)]
    pub memory: u64,
    /// Cases that run at a time; as many as there are processors, if not given
    #[arg(long)]
    pub jobs: Option<usize>,
}

type Queue = Mutex<VecDeque<(usize, Vec<Job>)>>;

/// Runs groups of jobs, those of a group one after another in the same child. Results come in the order of the jobs.
pub fn run(groups: Vec<Vec<Job>>, limits: &Limits) -> Result<Vec<(Job, Verdict)>> {
    let count: usize = groups.iter().map(Vec::len).sum();
    let mut start = 0;
    let mut queue = VecDeque::new();
    for group in groups {
        let next = start + group.len();
        queue.push_back((start, group));
        start = next;
    }
    let queue: Queue = Mutex::new(queue);
    let results: Mutex<Vec<Option<(Job, Verdict)>>> = Mutex::new(vec![None; count]);
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = limits.jobs.unwrap_or(available).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| serve(&queue, &results, limits))).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| anyhow::bail!("a thread of the runner panicked")))
    })?;
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|r| r.context("a case was not run")).collect()
}

fn serve(queue: &Queue, results: &Mutex<Vec<Option<(Job, Verdict)>>>, limits: &Limits) -> Result<()> {
    let mut child: Option<Worker> = None;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((start, group)) = next else { return Ok(()) };
        for (i, job) in group.into_iter().enumerate() {
            let worker = match &mut child {
                Some(worker) => worker,
                None => child.insert(Worker::start(limits)?),
            };
            let verdict = match worker.ask(&job, Duration::from_secs(limits.timeout)) {
                Ok(verdict) => verdict,
                Err(failure) => {
                    let reason = child.take().map_or_else(String::new, |w| w.end(failure, limits));
                    Verdict::because(Status::Error, reason)
                }
            };
            results.lock().unwrap_or_else(PoisonError::into_inner)[start + i] = Some((job, verdict));
        }
    }
}

/// Why a child gave no verdict.
enum Failure {
    Hung,
    Gone,
    Garbled(String),
}

struct Worker {
    process: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    complaint: Arc<Mutex<String>>,
}

impl Worker {
    fn start(limits: &Limits) -> Result<Worker> {
        let this = std::env::current_exe().context("the program's own file is not known")?;
        let mut command = if cfg!(unix) && limits.memory > 0 {
            // The shell sets the limit and then becomes the worker.
            let mut shell = Command::new("sh");
            shell.args(["-c", "ulimit -v \"$1\" && exec \"$0\" worker"]).arg(this).arg((limits.memory * 1024).to_string());
            shell
        } else {
            let mut command = Command::new(this);
            command.arg("worker");
            command
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().context("cannot start a child process")?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().context("the child's output is not piped")?;
        let stderr = process.stderr.take().context("the child's errors are not piped")?;
        let (send, answers) = channel();
        std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let complaint = Arc::new(Mutex::new(String::new()));
        let last = complaint.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok).filter(|l| !l.trim().is_empty()) {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
        });
        Ok(Worker { process, stdin, answers, complaint })
    }

    fn ask(&mut self, job: &Job, timeout: Duration) -> Result<Verdict, Failure> {
        let line = serde_json::to_string(job).map_err(|e| Failure::Garbled(e.to_string()))?;
        let stdin = self.stdin.as_mut().ok_or(Failure::Gone)?;
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).map_err(|_| Failure::Gone)?;
        match self.answers.recv_timeout(timeout) {
            Ok(answer) => serde_json::from_str(&answer).map_err(|e| Failure::Garbled(e.to_string())),
            Err(RecvTimeoutError::Timeout) => Err(Failure::Hung),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::Gone),
        }
    }

    /// Ends the child and says in a sentence why it failed.
    fn end(mut self, failure: Failure, limits: &Limits) -> String {
        match failure {
            Failure::Hung => format!("did not end within {} s", limits.timeout),
            Failure::Garbled(e) => format!("gave an answer that is not understood: {e}"),
            Failure::Gone => {
                let how = self.process.wait().map_or_else(|e| e.to_string(), |status| describe(&status));
                // The thread that reads the child's errors ends with them.
                std::thread::sleep(Duration::from_millis(50));
                let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
                let details = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
                format!("crashed ({how}{details})")
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn describe(status: &ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(status) {
        return format!("signal {signal}");
    }
    status.to_string()
}
