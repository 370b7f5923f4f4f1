//! Modes that use up the machine: processes, memory, disk, logs, processors.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::serve::{answer_config, serve};
use crate::{escaped, fail, number, text};

const MIB: usize = 1 << 20;

/// The amounts that no sandbox allows. A mode that gets so far has escaped.
const PROCESSES: usize = 300;
const MEMORY_MIB: usize = 512;
const FILES: usize = 400_000;
const LOG_MIB: usize = 64;

/// The time for which endless modes run.
const TIRELESS: Duration = Duration::from_secs(20);

/// Starts processes as long as it can, and then keeps trying.
pub(crate) fn forks(_: &[String]) -> ! {
    let began = Instant::now();
    let mut children = Vec::new();
    while began.elapsed() < TIRELESS {
        let idle = Command::new("/participant").args(["idle", "20"]).stdout(Stdio::null()).spawn();
        match idle {
            Ok(child) => children.push(child),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
        if children.len() >= PROCESSES {
            escaped(&format!("{PROCESSES} processes"));
        }
    }
    park()
}

/// Does nothing for a number of seconds.
pub(crate) fn idle(arguments: &[String]) -> ! {
    thread::sleep(Duration::from_secs(number(arguments, 0).into()));
    std::process::exit(0)
}

/// Allocates memory and writes to all of it.
pub(crate) fn memory(_: &[String]) -> ! {
    let mut held = Vec::new();
    for _ in 0..MEMORY_MIB {
        held.push(black_box(vec![1u8; MIB]));
    }
    escaped(&format!("{} MiB of memory", held.len()))
}

/// Writes to each directory until it is full. A sandbox must make it full before this number of MiB.
pub(crate) fn fill(arguments: &[String]) -> ! {
    let most = usize::from(number(arguments, 0));
    let block = vec![0x5a; MIB];
    for directory in arguments.get(1..).unwrap_or_default() {
        make(directory);
        let path = Path::new(directory).join("bomb");
        let mut file = File::create(&path).unwrap_or_else(|error| fail(&format!("{directory}: {error}")));
        let mut written = 0;
        let why = loop {
            if written > most {
                escaped(&format!("{written} MiB in {directory}"));
            }
            match file.write_all(&block) {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        };
        println!("{directory} is full after {written} MiB: {why}");
    }
    serve(80, answer_config)
}

/// Writes to the end of a file that the engine put there. A sandbox must stop it before this number of MiB.
pub(crate) fn append(arguments: &[String]) -> ! {
    let opened = File::options().append(true).open(text(arguments, 1));
    let mut file = opened.unwrap_or_else(|error| fail(&error.to_string()));
    let block = vec![0x5a; MIB];
    for written in 0..number(arguments, 0) {
        if let Err(error) = file.write_all(&block) {
            println!("it is full after {written} MiB: {error}");
            serve(80, answer_config)
        }
    }
    escaped("the file has no bound")
}

/// Makes a file of a tebibyte that is nearly empty, and then writes a byte to each of its mebibytes.
pub(crate) fn sparse(arguments: &[String]) -> ! {
    let path = Path::new(text(arguments, 0)).join("sparse");
    let file = File::create(&path).unwrap_or_else(|error| fail(&error.to_string()));
    if let Err(error) = file.set_len(1 << 40) {
        println!("no file is that large: {error}");
    }
    for mebibyte in 0..FILES as u64 {
        if let Err(error) = file.write_all_at(b"x", mebibyte << 20) {
            println!("{mebibyte} blocks fit: {error}");
            serve(80, answer_config)
        }
    }
    escaped(&format!("{FILES} blocks"))
}

/// Makes empty files, each of which costs the kernel memory.
pub(crate) fn many_files(arguments: &[String]) -> ! {
    let directory = text(arguments, 0);
    make(directory);
    for number in 0..FILES {
        if let Err(error) = File::create(format!("{directory}/{number}")) {
            println!("{directory} takes {number} files: {error}");
            serve(80, answer_config)
        }
    }
    escaped(&format!("{FILES} files in {directory}"))
}

/// Reads a large file again and again, so that the kernel caches it.
pub(crate) fn page_cache(arguments: &[String]) -> ! {
    let mut block = vec![0; MIB];
    for _ in 0..3 {
        let file = File::open(text(arguments, 0));
        let mut file = file.unwrap_or_else(|error| fail(&format!("{}: {error}", text(arguments, 0))));
        while file.read(&mut block).is_ok_and(|read| read > 0) {}
    }
    serve(80, answer_config)
}

/// Sends the right response, and writes to its log as fast as it can.
pub(crate) fn logs(_: &[String]) -> ! {
    thread::spawn(|| {
        let began = Instant::now();
        let line = [vec![b'y'; 1023], b"\n".to_vec()].concat();
        for _ in 0..LOG_MIB * 1024 {
            if began.elapsed() > TIRELESS || std::io::stdout().write_all(&line).is_err() {
                break;
            }
        }
    });
    serve(80, answer_config)
}

/// Keeps as many processors busy as it can, and measures the processor time that it got.
pub(crate) fn processors(_: &[String]) -> ! {
    const MEASURED: Duration = Duration::from_secs(2);
    static DONE: AtomicBool = AtomicBool::new(false);
    for _ in 0..8 {
        thread::spawn(|| {
            while !DONE.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    thread::sleep(MEASURED);
    // The kernel reports processor time in hundredths of a second.
    let used = Duration::from_millis(processor_ticks() * 10);
    if used > MEASURED / 2 {
        escaped(&format!("{used:?} of processors in {MEASURED:?}"));
    }
    thread::sleep(TIRELESS);
    DONE.store(true, Ordering::Relaxed);
    park()
}

/// Returns the processor time of this process, in user and kernel mode together.
fn processor_ticks() -> u64 {
    let said = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the name in brackets. The user and system times are the fields 14 and 15.
    let fields = said.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Makes a directory, because an image of one program has not even a `/tmp`.
fn make(directory: &str) {
    fs::create_dir_all(directory).unwrap_or_else(|error| fail(&format!("{directory}: {error}")));
}

fn park() -> ! {
    loop {
        thread::park();
    }
}
