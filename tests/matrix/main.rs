//! The crash matrix: every fault with many seeds, on real services, and a page about what came of it.
//!
//! It imports nothing of what it judges: the truth comes from the simulator, and everything else from topics and tables.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a run fails")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program for people"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "Kafka as foreign clients see it, not as ours do"
)]

mod breaks;
mod clock;
mod disk;
mod faults;
mod feed;
mod results;
mod run;
mod stream;
mod verdict;

use std::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use futures_util::FutureExt as _;
use redline_tests::{Random, is_ours};

use crate::faults::{FAULTS, Fault, SHORT};
use crate::results::Line;
use crate::run::{Told, run};
use crate::verdict::{Verdict, word_of};

#[derive(Parser)]
#[command(
    name = "redline-faults",
    about = "Tries to make Redline lose, double or misjudge something"
)]
struct Arguments {
    #[command(subcommand)]
    command: Matrix,
}

#[derive(Subcommand)]
enum Matrix {
    /// Run faults with seeds, and add a line to the results for each; what has a line is not run again.
    Run {
        /// A fault by name; may be repeated. All of them by default.
        #[arg(long = "fault")]
        faults: Vec<String>,
        /// A seed, or a range such as 1-20.
        #[arg(long, default_value = "1-20", value_parser = parse_seeds)]
        seeds: RangeInclusive<u64>,
        /// Some faults with one seed that nobody chose: minutes. REDLINE_TEST_SEED repeats it.
        #[arg(long, conflicts_with_all = ["faults", "seeds"])]
        short: bool,
        /// The file of results; without it nothing is kept and everything is run.
        #[arg(long)]
        results: Option<PathBuf>,
        /// Stop at the first run that is not clean.
        #[arg(long)]
        fail_fast: bool,
    },
    /// List the faults.
    List,
    /// Build binaries with one thing broken on purpose, and run until each is caught.
    Breaks {
        /// A break by the name of its feature; may be repeated. All of them by default.
        #[arg(long = "break")]
        breaks: Vec<String>,
        /// Seeds to try at most.
        #[arg(long, default_value_t = 20)]
        seeds: u64,
        /// The file of what was caught.
        #[arg(long)]
        results: Option<PathBuf>,
    },
    /// Write the page about the results in a folder.
    Page {
        /// The folder with reliability.jsonl and reliability-breaks.jsonl.
        folder: PathBuf,
    },
}

fn parse_seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let parse = |text: &str| text.parse().map_err(|_| format!("{text} is no whole number"));
    match text.split_once('-') {
        Some((first, last)) => Ok(parse(first)?..=parse(last)?),
        None => parse(text).map(|seed| seed..=seed),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // A run that fails is told in its line; where it failed is enough besides.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            let word = word_of(panic.payload());
            eprintln!(
                "      failed at {place}: {}",
                word.lines().next().unwrap_or_default()
            );
        }
    }));
    match Arguments::parse().command {
        Matrix::List => {
            for fault in FAULTS {
                println!("{:<34} {}", fault.name, fault.about);
            }
            ExitCode::SUCCESS
        }
        Matrix::Page { folder } => {
            print!("{}", results::page_of(&folder));
            ExitCode::SUCCESS
        }
        Matrix::Breaks {
            breaks,
            seeds,
            results,
        } => match breaks::run(&breaks, seeds, results.as_deref()).as_slice() {
            [] => ExitCode::SUCCESS,
            missed => {
                println!("not caught: {}", missed.join(", "));
                ExitCode::FAILURE
            }
        },
        Matrix::Run {
            mut faults,
            mut seeds,
            short,
            results,
            fail_fast,
        } => {
            if short {
                let seed = Random::seed() % 100_000;
                println!("REDLINE_TEST_SEED={seed} repeats this");
                faults = SHORT.iter().map(|name| (*name).to_owned()).collect();
                seeds = seed..=seed;
            }
            run_matrix(&chosen(&faults), seeds, results.as_deref(), fail_fast).await
        }
    }
}

fn chosen(names: &[String]) -> Vec<&'static Fault> {
    if names.is_empty() {
        return FAULTS.iter().collect();
    }
    let named = |name: &String| {
        Fault::named(name).unwrap_or_else(|| panic!("there is no fault {name}; `list` names them all"))
    };
    names.iter().map(named).collect()
}

/// Seeds outside, so that an interrupted matrix has tried every fault.
async fn run_matrix(
    faults: &[&'static Fault],
    seeds: RangeInclusive<u64>,
    results: Option<&Path>,
    fail_fast: bool,
) -> ExitCode {
    // Somebody's own services are not killed.
    if !["kafka", "registry", "postgres", "redis"]
        .into_iter()
        .all(is_ours)
    {
        return ExitCode::SUCCESS;
    }
    let (commit, machine) = (commit(), machine());
    let known = results.map(results::read).unwrap_or_default();
    let faults: Vec<&'static Fault> = faults
        .iter()
        .copied()
        .filter(|fault| match fault.missing() {
            Some(missing) => {
                eprintln!("left out: {} {missing}", fault.name);
                false
            }
            None => true,
        })
        .collect();
    let all: Vec<(u64, &'static Fault)> = seeds
        .flat_map(|seed| faults.iter().map(move |fault| (seed, *fault)))
        .filter(|(seed, fault)| {
            let is_done =
                |line: &Line| line.commit == commit && line.fault == fault.name && line.seed == *seed;
            !known.iter().any(is_done)
        })
        .collect();
    let mut unclean = 0;
    for (number, (seed, fault)) in all.iter().enumerate() {
        let began = Instant::now();
        let told = run_once(fault, *seed).await;
        let line = Line::of(fault, *seed, &told, &commit, &machine);
        println!(
            "{:>4} of {}  {:<34} seed {:<3} lost {} doubled {} wrong {}  recovered in {:.1} s  {} s",
            number + 1,
            all.len(),
            fault.name,
            seed,
            line.lost,
            line.doubled,
            line.wrong,
            told.recovery.as_secs_f32(),
            began.elapsed().as_secs(),
        );
        for word in &line.words {
            println!("      {word}");
        }
        if let Some(results) = results {
            results::append(results, &line);
        }
        if !line.is_clean() {
            unclean += 1;
            if fail_fast {
                break;
            }
            heal().await;
        }
    }
    match unclean {
        0 => {
            println!("{} runs, nothing lost, nothing doubled, nothing wrong", all.len());
            ExitCode::SUCCESS
        }
        _ => {
            println!("{unclean} of {} runs were not clean", all.len());
            ExitCode::FAILURE
        }
    }
}

/// A run; one that comes to no end is wrong.
async fn run_once(fault: &'static Fault, seed: u64) -> Told {
    AssertUnwindSafe(run(fault, seed))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Told {
            verdict: Verdict::broken(word_of(&*panic)),
            recovery: Duration::ZERO,
        })
}

/// After a run that came to no end its fault may still be there.
async fn heal() {
    let mut services = vec!["registry", "postgres", "redis", "kafka"];
    services.extend(["kafka-2", "kafka-3"].into_iter().take(faults::brokers() - 1));
    for service in services {
        redline_tests::harness(&["restart", service]).await;
    }
}

/// The commit under test; with a `+` where the tree holds something else.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().expect("git runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let changed = git(&["status", "--porcelain", "--", ".", ":!docs"]);
    let mark = if changed.is_empty() { "" } else { "+" };
    format!("{}{mark}", git(&["rev-parse", "--short=10", "HEAD"]))
}

/// The machine in a few words.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let kibibytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!(
        "{cores} cores, {} GiB, Linux {kernel}",
        kibibytes.div_ceil(1_048_576)
    )
}
