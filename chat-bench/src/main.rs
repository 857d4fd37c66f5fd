//! What a delivery and an idle connection cost: `cargo xtask bench`.
//!
//! Every server is a process of its own on a core of its own, and so is the load program. Times on one machine say little about
//! another, or about the same machine an hour later: what carries over are ratios in the same run, of which each table has one
//! to *the floor*, a server that does one write per member and message and nothing else.

mod charts;
mod cores;
mod crowd;
mod curves;
#[cfg(feature = "stores")]
mod durable;
mod grid;
mod growth;
mod hot_path;
mod kept;
mod load;
mod parts;
mod process;
mod report;
mod scenarios;
mod servers;
mod stamp;
mod statistics;
mod storms;
mod subject;
mod wire;

use std::process::ExitCode;

const USAGE: &str = "\
chat-bench run|growth|cores|storms|durable [--rounds N] [--only PART] [--peers FOLDER] [--figures FOLDER]
                                            the tables; PART is in the name of what is measured; FOLDER gets the figures
chat-bench charts FOLDER INTO               charts of the figures in the folder
chat-bench serve NAME [WITH]                one of the servers that are compared
chat-bench load JSON                        the load program
chat-bench crowd JSON                       clients that come, come back or stop reading
chat-bench scale JSON                       the path of a message without sockets, on several threads
chat-bench drive [NAME]                     the path of a message without sockets, for valgrind; the names of what it can do";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["run", ..] => scenarios::run(&words[1..]),
        ["growth", ..] => growth::run(&words[1..]),
        ["cores", ..] => cores::run(&words[1..]),
        ["storms", ..] => storms::run(&words[1..]),
        #[cfg(feature = "stores")]
        ["durable", ..] => durable::run(&words[1..]),
        ["charts", figures, into] => charts::draw(figures.as_ref(), into.as_ref()),
        ["serve", name, ..] => servers::serve(name, &words[2..]),
        ["crowd", text] => crowd::crowd(text),
        ["scale", text] => hot_path::scale(text),
        ["drive"] => hot_path::drive(None),
        ["drive", name] => hot_path::drive(Some(name)),
        ["load", text] => load::load(text).map_err(Into::into),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
