//! Which process is at the other end of a connection on this machine. Linux says so in `/proc`.

use std::net::{IpAddr, SocketAddr};

/// Who of these, by their process ids, has the socket that comes from this address.
pub(crate) fn of<P: Copy>(from: SocketAddr, to: SocketAddr, pids: &[(u32, P)]) -> Option<P> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let socket = format!("socket:[{}]", inode(&table, from, to)?);
    let has = |pid: u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        files
            .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
            .any(|file| file.as_os_str() == socket.as_str())
    };
    pids.iter().find(|(pid, _)| has(*pid)).map(|(_, part)| *part)
}

/// The number of the socket with these two ends, in the system's table.
fn inode(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (written(local)?, written(remote)?);
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next()? == local && fields.next()? == remote;
        is_it.then(|| fields.nth(6)?.parse().ok()).flatten()
    })
}

/// An address as the table has it: as the machine has its bytes, so the first is the last one here.
fn written(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let number = u32::from_ne_bytes(ip.octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_process_is_known_by_its_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let client = TcpStream::connect(to).unwrap();
        let from = client.local_addr().unwrap();
        // The first process of the system hasn't got it.
        let pids = [(1, "init"), (std::process::id(), "this")];
        assert_eq!(of(from, to, &pids), Some("this"));
        assert_eq!(of(from, to, &pids[..1]), None);
        assert_eq!(of(to, from, &[(u32::MAX, "nobody")]), None);
    }
}
