//! The configurations that docs/DEPLOY.md tells people to use, and how they are made to fit here.

use std::path::Path;
use std::process::Command;

use crate::keeper::Keeper;
use crate::ports::Ports;

/// For HAProxy.
pub(crate) const HAPROXY: &str = include_str!("../../docs/deploy/haproxy.cfg");

/// For nginx.
const NGINX: &str = include_str!("../../docs/deploy/nginx.conf");

/// For NATS.
const NATS: &str = include_str!("../../docs/deploy/nats.conf");

/// A certificate and its key, which nobody uses or trusts: the programs want some to be there.
const NOBODY: &str = include_str!("nobody.pem");

/// Puts other lines in place of some. Each of these has to be there once: so a file that was changed is noticed.
pub(crate) fn edit(text: &str, changes: &[(&str, String)]) -> Result<String, String> {
    let mut counts = vec![0; changes.len()];
    let mut edited = String::new();
    for line in text.lines() {
        match changes.iter().position(|(begins, _)| line.starts_with(begins)) {
            Some(at) => {
                counts[at] += 1;
                edited.push_str(&changes[at].1);
            }
            None => {
                edited.push_str(line);
                edited.push('\n');
            }
        }
    }
    match counts.iter().zip(changes).find(|(count, _)| **count != 1) {
        None => Ok(edited),
        Some((count, (begins, _))) => Err(format!(
            "a documented file has {count} lines that begin with {begins:?}, where there has to be one"
        )),
    }
}

/// Has the programs check their files, as they stand but for users, paths and ports of this machine.
pub(crate) fn check(haproxy: &Path, nginx: &Path, nats_server: &Path, folder: &Path) -> Result<(), String> {
    let keeper = Keeper::new(&folder.join(format!("check-{}", std::process::id())))?;
    let folder = &keeper.folder;
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(path.display().to_string())
    };
    let pem = file("nobody.pem", NOBODY)?;

    let changes = [
        ("    user ", String::new()),
        ("    group ", String::new()),
        (
            "    bind :443 ssl crt ",
            format!("    bind :443 ssl crt {pem} alpn http/1.1\n"),
        ),
    ];
    let path = file("haproxy.cfg", &edit(HAPROXY, &changes)?)?;
    run(Command::new(haproxy).args(["-c", "-f", &path]))?;

    let mut ports = Ports::new();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| {
        let path = folder.join(kind);
        format!("    {kind}_temp_path {};\n", path.display())
    });
    let (log, pid) = (folder.join("access.log"), folder.join("nginx.pid"));
    let changes = [
        ("user ", String::new()),
        (
            "http {",
            format!("http {{\n    access_log {};\n{}", log.display(), temporary.concat()),
        ),
        ("        listen 80;", format!("        listen {};\n", ports.free()?)),
        (
            "        listen 443 ssl;",
            format!("        listen {} ssl;\n", ports.free()?),
        ),
        ("        ssl_certificate  ", format!("        ssl_certificate {pem};\n")),
        (
            "        ssl_certificate_key ",
            format!("        ssl_certificate_key {pem};\n"),
        ),
    ];
    let path = file("nginx.conf", &edit(NGINX, &changes)?)?;
    let errors = folder.join("error.log").display().to_string();
    run(Command::new(nginx)
        .args(["-t", "-c", &path, "-e", &errors, "-g"])
        .arg(format!("pid {};", pid.display())))?;

    let path = file("nats.conf", NATS)?;
    run(Command::new(nats_server)
        .args(["-t", "-c", &path])
        .env("CHAT_NATS_PASSWORD", "secret"))
}

/// Runs a check; what it says is shown if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // A warning is no success either: people would see it.
    if output.status.success() && !said.to_ascii_lowercase().contains("warn") {
        println!("{program}: the documented configuration is valid");
        return Ok(());
    }
    let said = said + &String::from_utf8_lossy(&output.stdout);
    Err(format!("{program} doesn't take the documented configuration: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_gone_or_there_twice_is_noticed() {
        let change = |begins| edit("a 1\nb 2\nb 3\n", &[(begins, "c\n".to_owned())]);
        assert_eq!(change("a "), Ok("c\nb 2\nb 3\n".to_owned()));
        change("b ").unwrap_err();
        change("d ").unwrap_err();
    }
}
