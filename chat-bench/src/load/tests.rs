//! What servers do wrong is seen.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::run::Run;
use super::{Dialect, Drive, Figures, Load};
use crate::wire::{Header, push_text};

const MEMBERS: usize = 4;

/// What becomes of a message on its way to one member.
#[derive(Clone, Copy)]
enum Fate {
    Delivered,
    Repeated,
    Lost,
    /// The connection is closed instead.
    Closed,
}

/// A server of one room whose first member sends. What becomes of a message depends on its number and the member.
fn serve(listener: &TcpListener, fate: impl Fn(u64, usize) -> Fate) -> io::Result<()> {
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        let (mut stream, _) = listener.accept()?;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")?;
        members.push(Some(stream));
    }
    let mut sender = members[0].as_ref().expect("it was accepted").try_clone()?;
    let (mut input, mut buffer, mut number) = (Vec::new(), [0; 4096], 0);
    loop {
        match sender.read(&mut buffer)? {
            0 => return Ok(()),
            read => input.extend_from_slice(&buffer[..read]),
        }
        while let Some(header) = Header::read(&input)
            && let Some(text) = input.get(header.size..header.size + header.payload)
        {
            let mut frame = Vec::new();
            push_text(&mut frame, text);
            input.drain(..header.size + header.payload);
            number += 1;
            for (index, member) in members.iter_mut().enumerate() {
                pass(member, &frame, fate(number, index))?;
            }
        }
    }
}

fn pass(member: &mut Option<TcpStream>, frame: &[u8], fate: Fate) -> io::Result<()> {
    let Some(stream) = member else {
        return Ok(());
    };
    match fate {
        Fate::Delivered => stream.write_all(frame),
        Fate::Repeated => stream.write_all(frame).and_then(|()| stream.write_all(frame)),
        Fate::Lost => Ok(()),
        Fate::Closed => {
            *member = None;
            Ok(())
        }
    }
}

fn measure(drive: Drive, fate: impl Fn(u64, usize) -> Fate + Send + 'static) -> io::Result<Figures> {
    measure_for(200, drive, fate)
}

fn measure_for(
    measured_ms: u64,
    drive: Drive,
    fate: impl Fn(u64, usize) -> Fate + Send + 'static,
) -> io::Result<Figures> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let load = Load {
        port: listener.local_addr()?.port(),
        pid: std::process::id(),
        dialect: Dialect::Plain,
        rooms: 1,
        rooms_each: 1,
        members: MEMBERS,
        stopped_percent: 0,
        content: 100,
        drive,
        warm_up_ms: 50,
        measured_ms,
    };
    let server = thread::spawn(move || serve(&listener, fate));
    let figures = Run::start(load)?.measure();
    // The connections are gone; whichever way the server notices it.
    let _ = server.join().expect("the server doesn't panic");
    figures
}

#[test]
fn a_good_server_loses_nothing_and_closes_nothing() -> io::Result<()> {
    let figures = measure(Drive::Rate(100), |_, _| Fate::Delivered)?;
    assert_eq!((figures.lost, figures.closed), (0, 0));
    assert!(figures.sent > 0 && figures.latency.p99 > 0.0, "{figures:?}");
    Ok(())
}

#[test]
fn what_a_server_loses_is_counted() -> io::Result<()> {
    // The first one is heard by all, or nothing would begin.
    let figures = measure(Drive::Rate(100), |number, member| match (number, member) {
        (4 | 5, 1) => Fate::Lost,
        _ => Fate::Delivered,
    })?;
    assert_eq!((figures.lost, figures.closed), (2, 0));
    Ok(())
}

#[test]
fn a_sender_goes_on_when_its_only_message_under_way_is_lost() -> io::Result<()> {
    let figures = measure_for(2500, Drive::Window(1), |number, member| match (number, member) {
        (4, 0) => Fate::Lost,
        _ => Fate::Delivered,
    })?;
    assert_eq!(figures.lost, 1);
    assert!(figures.sent > 10, "{figures:?}");
    Ok(())
}

#[test]
fn what_a_server_sends_twice_is_counted() -> io::Result<()> {
    let figures = measure(Drive::Rate(100), |number, member| match (number, member) {
        (4, 1) => Fate::Repeated,
        _ => Fate::Delivered,
    })?;
    assert_eq!(figures.lost, 1);
    Ok(())
}

#[test]
fn connections_that_a_server_closes_are_counted_and_lose_nothing() -> io::Result<()> {
    let figures = measure(Drive::Window(2), |number, member| match (number, member) {
        (4, 1) | (7, 2) => Fate::Closed,
        _ => Fate::Delivered,
    })?;
    assert_eq!((figures.lost, figures.closed), (0, 2));
    Ok(())
}

#[test]
fn a_server_that_refuses_is_an_error_that_says_so() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let server = thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(b"HTTP/1.1 503 Full\r\n\r\n")?;
        // Until the client is gone: else it would be told of a reset.
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let load = Load {
        port,
        pid: std::process::id(),
        dialect: Dialect::SocketIo,
        rooms: 1,
        rooms_each: 1,
        members: 1,
        stopped_percent: 0,
        content: 100,
        drive: Drive::Idle,
        warm_up_ms: 0,
        measured_ms: 0,
    };
    let error = Run::start(load).err().expect("it is refused");
    assert!(error.to_string().contains("503 Full"), "{error}");
    let _ = server.join().expect("the server doesn't panic");
    Ok(())
}
