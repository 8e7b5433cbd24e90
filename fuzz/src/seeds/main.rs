//! Writes the seeds of every target below the folder that is its one argument: the frames of `tests/cases`, the configurations of the tests, the
//! manual and the profiles, the addresses in them, small captures, and real rules of packet filters. Judges nothing.

mod captures;
mod texts;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use nodewall_fuzz::cases;

/// Longer frames are of no use: what decides stands in front.
const LONGEST_FRAME_BYTES: usize = 2048;

type Seeds = Vec<(String, Vec<u8>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("name the folder to write to")?;
    let texts = texts::configurations()?;
    let addresses = texts::addresses(&texts);
    let frames = frames();
    let captures = captures::captures(&frames);
    let targets = [
        ("decide", frames),
        ("config", texts),
        ("address", addresses),
        ("capture", captures),
        ("listings", texts::listings()),
    ];
    for (target, seeds) in targets {
        write(&Path::new(&folder).join(target), &seeds)?;
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}

fn frames() -> Seeds {
    let short = cases::all().into_iter().filter(|case| case.frame.len() <= LONGEST_FRAME_BYTES);
    short.map(|case| (case.name.to_owned(), case.frame)).collect()
}

fn write(folder: &Path, seeds: &Seeds) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for (number, (name, bytes)) in seeds.iter().enumerate() {
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
        fs::write(folder.join(format!("{number:03}-{plain}")), bytes)?;
    }
    Ok(())
}
