//! The least that a server in user space can do: one thread, one `write(2)` per member and message, and nothing else. No limits,
//! no log, no queue but what a full socket makes necessary. What a server costs is told as a ratio to this.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{addressed, envelope, rooms_of};
use crate::wire::{Header, TEXT, push_text};

const LISTENER: Token = Token(usize::MAX);

struct Member {
    stream: TcpStream,
    /// None until the handshake is done.
    rooms: Vec<usize>,
    input: Vec<u8>,
    /// What the socket had no place for.
    waiting: Vec<u8>,
}

#[derive(Default)]
struct Room {
    name: String,
    members: Vec<usize>,
    seq: u64,
    /// What this round of readiness brought, if it is gathered.
    gathered: Vec<u8>,
}

struct Floor {
    poll: Poll,
    members: Vec<Option<Member>>,
    rooms: Vec<Room>,
    by_name: HashMap<String, usize>,
    /// Whether what one round of readiness brings is gathered, so that each member gets it in one write.
    gathers: bool,
    /// Rooms with something gathered.
    spoken_in: Vec<usize>,
}

pub(super) fn serve(gathers: bool) -> io::Result<()> {
    // mio lets 128 connections wait to be accepted, and roomcast lets more.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(socket.into());
    println!("{}", listener.local_addr()?.port());
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor {
        poll,
        members: Vec::new(),
        rooms: Vec::new(),
        by_name: HashMap::new(),
        gathers,
        spoken_in: Vec::new(),
    };
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 64 << 10]);
    loop {
        floor.poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener)?;
                continue;
            }
            let member = event.token().0;
            if event.is_writable() {
                floor.write_waiting(member);
            }
            if event.is_readable() {
                floor.read(member, &mut buffer);
            }
        }
        floor.send_gathered();
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let (mut stream, _) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.members.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, interest)?;
            self.members.push(Some(Member {
                stream,
                rooms: Vec::new(),
                input: Vec::new(),
                waiting: Vec::new(),
            }));
        }
    }

    fn read(&mut self, number: usize, buffer: &mut [u8]) {
        loop {
            let Some(member) = &mut self.members[number] else {
                return;
            };
            match member.stream.read(buffer) {
                Ok(read @ 1..) => member.input.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => return self.leave(number),
            }
        }
        self.greet(number);
        let Some(Member { rooms, input, .. }) = &mut self.members[number] else {
            return;
        };
        let Some(&first) = rooms.first() else {
            return;
        };
        let input = std::mem::take(input);
        let mut rest = input.as_slice();
        while let Some(header) = Header::read(rest)
            && let Some(payload) = rest.get(header.size..header.size + header.payload)
        {
            if header.opcode == TEXT {
                self.say(first, payload, header.mask.unwrap_or_default());
            }
            rest = &rest[header.size + header.payload..];
        }
        if let Some(member) = &mut self.members[number] {
            member.input.extend_from_slice(rest);
        }
    }

    /// Says it in the room that it names, or in this one.
    fn say(&mut self, first: usize, masked: &[u8], mask: [u8; 4]) {
        let text: Vec<u8> = masked
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect();
        let text = String::from_utf8_lossy(&text);
        let (name, rest) = addressed(&text);
        let number = name.and_then(|name| self.by_name.get(name)).copied().unwrap_or(first);
        let room = &mut self.rooms[number];
        room.seq += 1;
        let text = envelope(&room.name, room.seq, rest);
        if self.gathers {
            if room.gathered.is_empty() {
                self.spoken_in.push(number);
            }
            push_text(&mut room.gathered, text.as_bytes());
        } else {
            let mut frame = Vec::with_capacity(text.len() + 10);
            push_text(&mut frame, text.as_bytes());
            self.send(number, &frame);
        }
    }

    fn send(&mut self, room: usize, frames: &[u8]) {
        for &number in &self.rooms[room].members {
            let Some(member) = &mut self.members[number] else {
                continue;
            };
            let mut written = 0;
            if member.waiting.is_empty() {
                // A broken connection is noticed when it is read.
                written = member.stream.write(frames).unwrap_or(0);
            }
            member.waiting.extend_from_slice(&frames[written..]);
        }
    }

    fn send_gathered(&mut self) {
        let rooms = std::mem::take(&mut self.spoken_in);
        if let [room] = rooms[..] {
            let frames = std::mem::take(&mut self.rooms[room].gathered);
            return self.send(room, &frames);
        }
        // A member may be in several of them.
        let mut spoken_to = Vec::new();
        for room in rooms {
            let frames = std::mem::take(&mut self.rooms[room].gathered);
            for &number in &self.rooms[room].members {
                if let Some(member) = &mut self.members[number] {
                    if member.waiting.is_empty() {
                        spoken_to.push(number);
                    }
                    member.waiting.extend_from_slice(&frames);
                }
            }
        }
        for number in spoken_to {
            self.write_waiting(number);
        }
    }

    fn write_waiting(&mut self, number: usize) {
        if let Some(member) = &mut self.members[number]
            && !member.waiting.is_empty()
        {
            let written = member.stream.write(&member.waiting).unwrap_or(0);
            member.waiting.drain(..written);
            if member.waiting.is_empty() {
                member.waiting = Vec::new();
            }
        }
    }

    /// Answers the handshake, once all of it is there.
    fn greet(&mut self, number: usize) {
        let Some(member) = &mut self.members[number] else {
            return;
        };
        if !member.rooms.is_empty() {
            return;
        }
        let Some(end) = member.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return;
        };
        let head = String::from_utf8_lossy(&member.input[..end]).into_owned();
        member.input.drain(..end + 4);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.unwrap_or_default().as_bytes())
        );
        if member.stream.write_all(answer.as_bytes()).is_err() {
            return self.leave(number);
        }
        for name in rooms_of(path) {
            let room = *self.by_name.entry(name.to_owned()).or_insert_with(|| {
                self.rooms.push(Room {
                    name: name.to_owned(),
                    ..Room::default()
                });
                self.rooms.len() - 1
            });
            member.rooms.push(room);
            self.rooms[room].members.push(number);
        }
    }

    fn leave(&mut self, number: usize) {
        for room in self.members[number].take().into_iter().flat_map(|member| member.rooms) {
            self.rooms[room].members.retain(|member| *member != number);
        }
    }
}
