use serde_json::Value;

use super::super::tell::Span;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn user(name: &str) -> User {
    User::named(name).unwrap()
}

fn users(names: &str) -> Vec<User> {
    names.split_whitespace().map(user).collect()
}

fn ids(names: &str) -> Vec<UserId> {
    users(names).iter().map(|user| user.id().clone()).collect()
}

fn room() -> RoomId {
    RoomId::new("r").unwrap()
}

/// A view, and what a member was told of it.
struct Shown {
    view: View,
    now: Instant,
    version: u64,
    /// What was told last: names that came, names that left; or all.
    last: String,
}

impl Shown {
    fn new(limit: usize) -> Self {
        Self {
            view: View::new(limit),
            now: Instant::now(),
            version: 0,
            last: String::new(),
        }
    }

    fn here(&mut self, online: usize, came: &str, left: &str) {
        let (came, left) = (users(came), ids(left));
        self.view.here(&Change { online, came, left }, self.now);
    }

    fn hear(&mut self, node: u128, no: u64, online: usize, here: &str, left: &str, span: Option<Span>) {
        let (here, left) = (users(here), ids(left));
        let lasts = 30 * SECOND;
        let tell = Tell {
            no,
            online,
            lasts,
            span,
            here,
            left,
        };
        self.view.hear(MessageId::from_u128(node), &tell, self.now);
    }

    fn whole(&mut self, node: u128, no: u64, here: &str) {
        self.hear(node, no, users(here).len(), here, "", Some(Span::default()));
    }

    /// What the member is told after so long: `+came -left online`, or `=users online`.
    fn told(&mut self, after: Duration) -> String {
        self.now += after;
        self.view.expire(self.now);
        self.view.tell(&room(), self.now);
        let mut told = Vec::new();
        while let Some((frame, version)) = self.view.next_frame(&room(), self.version) {
            assert!(version > self.version);
            self.version = version;
            told.push(read(&frame));
        }
        self.last = told.join("; ");
        self.last.clone()
    }
}

fn read(frame: &Bytes) -> String {
    let frame: Value = serde_json::from_slice(frame).unwrap();
    let names = |key: &str, sign: &str| {
        let names = frame[key].as_array().into_iter().flatten();
        names
            .map(|name| format!("{sign}{} ", name.as_str().or(name["name"].as_str()).unwrap()))
            .collect::<String>()
    };
    let online = &frame["online"];
    format!(
        "{}{}{}{online}",
        names("users", "="),
        names("came", "+"),
        names("left", "-")
    )
}

#[test]
fn the_union_of_all_nodes_is_told_each_user_once() {
    let mut shown = Shown::new(9);
    shown.here(2, "ann bob", "");
    shown.whole(1, 1, "bob carl");
    assert_eq!(shown.told(SECOND), "=ann =bob =carl 3");
    shown.here(1, "", "bob");
    assert_eq!(shown.told(5 * SECOND), "", "he is on the other node");
    shown.hear(1, 2, 2, "dora", "bob", None);
    assert_eq!(shown.told(SECOND), "+dora 4");
    assert_eq!(shown.told(SECOND), "-bob 3");
    assert_eq!(shown.told(SECOND), "");
}

#[test]
fn who_left_lingers() {
    let mut shown = Shown::new(9);
    shown.here(2, "ann bob", "");
    shown.told(SECOND);
    shown.here(1, "", "bob");
    assert!(!shown.view.has_news(shown.now));
    assert_eq!(shown.view.news(), (false, Some(shown.now + LINGER)));
    assert_eq!(shown.told(LINGER - SECOND / 2), "");
    shown.whole(1, 1, "bob");
    assert_eq!(shown.told(SECOND), "", "on another node, in time");
    shown.whole(1, 2, "");
    assert_eq!(shown.told(LINGER), "-bob 1");
}

#[test]
fn a_name_is_the_newest_and_does_not_go_back_and_forth() {
    let mut shown = Shown::new(9);
    shown.whole(1, 1, "ann");
    shown.told(SECOND);
    let renamed = User::new(user("ann").id().clone(), "Ann".parse().unwrap());
    let tell = |no, user: &User| Tell {
        no,
        online: 1,
        lasts: 30 * SECOND,
        span: Some(Span::default()),
        here: vec![user.clone()],
        left: Vec::new(),
    };
    shown.view.hear(MessageId::from_u128(2), &tell(1, &renamed), shown.now);
    assert_eq!(shown.told(SECOND), "+Ann 1");
    for no in 2..5 {
        shown
            .view
            .hear(MessageId::from_u128(1), &tell(no, &user("ann")), shown.now);
        shown.view.hear(MessageId::from_u128(2), &tell(no, &renamed), shown.now);
        assert_eq!(shown.told(SECOND), "");
    }
    shown.hear(2, 9, 0, "", "ann", None);
    assert_eq!(shown.told(SECOND), "+ann 1", "as the node says that is left");
}

#[test]
fn what_is_old_is_passed_over() {
    let mut shown = Shown::new(9);
    shown.whole(1, 5, "ann bob");
    shown.told(SECOND);
    shown.hear(1, 7, 1, "", "bob", None);
    for no in [1, 5, 6, 7] {
        shown.whole(1, no, "ann bob carl");
    }
    assert_eq!(shown.told(LINGER), "-bob 1");
    shown.whole(1, 8, "ann bob");
    assert_eq!(shown.told(SECOND), "+bob 2");
}

#[test]
fn a_piece_of_a_whole_state_says_nothing_of_other_ids() {
    let mut shown = Shown::new(9);
    shown.whole(1, 1, "ann bob carl dora");
    shown.told(SECOND);
    let span = |after: &str, to: &str| {
        let id = |name: &str| ids(name).pop();
        Some(Span {
            after: id(after),
            to: id(to),
        })
    };
    shown.hear(1, 2, 3, "", "", span("ann", "bob"));
    assert_eq!(shown.told(LINGER), "-bob 3");
    shown.hear(1, 3, 3, "bob", "", span("", "bob"));
    assert_eq!(shown.told(LINGER), "+bob -ann 3");
    shown.hear(1, 4, 1, "", "", span("bob", ""));
    assert_eq!(shown.told(LINGER), "-carl -dora 1");
}

#[test]
fn a_node_that_is_not_heard_of_is_forgotten_and_may_come_back() {
    let mut shown = Shown::new(9);
    shown.here(1, "ann", "");
    shown.whole(1, 1, "ann bob");
    shown.told(SECOND);
    shown.told(20 * SECOND);
    shown.hear(1, 2, 2, "", "", None);
    assert_eq!(shown.told(29 * SECOND), "", "it was heard of");
    assert_eq!(shown.view.expires(), Some(shown.now + SECOND));
    assert_eq!(shown.told(SECOND), "");
    assert_eq!(shown.told(LINGER), "-bob 1");
    shown.whole(1, 2, "ann bob");
    assert_eq!(shown.told(SECOND), "", "this was told before it was forgotten");
    shown.whole(1, 3, "ann bob");
    assert_eq!(shown.told(SECOND), "+bob 2");
    shown.told(40 * SECOND);
    shown.told(REMEMBERED);
    assert_eq!(shown.view.nodes.len(), 1, "nothing is kept for ever");
    assert_eq!(shown.view.users.len(), 1);
}

#[test]
fn beyond_the_limit_users_are_counted_and_found_again() {
    let mut shown = Shown::new(3);
    shown.here(2, "ann bob", "");
    shown.hear(1, 1, 4, "carl dora emil", "", Some(Span::default()));
    assert_eq!(shown.told(SECOND), "=ann =bob =carl 6");
    shown.hear(1, 2, 3, "", "dora", None);
    assert_eq!(shown.told(SECOND), "5");
    shown.hear(1, 3, 2, "", "carl", None);
    assert_eq!(shown.told(LINGER), "-carl 4");
    shown.hear(1, 4, 2, "emil frank", "", Some(Span::default()));
    assert_eq!(shown.told(SECOND), "+emil 4");
    shown.here(1, "", "ann");
    shown.told(LINGER);
    assert!(!shown.view.has_place(1), "all of this node are known");
    assert!(shown.view.has_place(2));
    shown.view.offer(users("bob zoe").iter());
    assert_eq!(shown.told(SECOND), "+zoe 4");
    assert!(!shown.view.has_place(2));
}

#[test]
fn whatever_other_hubs_say_what_is_kept_is_bounded() {
    let mut shown = Shown::new(100);
    for node in 1..1000 {
        let names: Vec<_> = (0..50).map(|n| format!("u{}", node * 50 + n)).collect();
        shown.hear(node, u64::MAX, usize::MAX, &names.join(" "), "", None);
    }
    assert_eq!(shown.view.nodes.len(), NODES);
    assert_eq!((shown.view.users.len(), shown.view.changed.len()), (100, 100));
    shown.told(SECOND);
    for _ in 0..100 {
        shown.here(1, "ann", "");
        shown.told(SECOND);
        shown.here(0, "", "ann");
        shown.told(LINGER);
    }
    assert!(shown.view.told.changes.len() <= RECENT);
}

#[test]
fn all_who_are_at_one_version_get_the_same_bytes_and_who_is_far_behind_the_whole_state() {
    let mut shown = Shown::new(100);
    shown.here(1, "ann", "");
    shown.told(SECOND);
    let first = shown.version;
    let frame = |shown: &mut Shown, version| shown.view.next_frame(&room(), version).unwrap();
    for n in 0..RECENT {
        shown.here(2 + n, &format!("u{n}"), "");
        shown.told(SECOND);
    }
    let (change, next) = frame(&mut shown, first);
    assert_eq!((read(&change), next), ("+u0 2".into(), first + 1));
    assert_eq!(change.as_ptr(), frame(&mut shown, first).0.as_ptr());
    let (whole, version) = frame(&mut shown, 0);
    assert_eq!(version, shown.version);
    assert_eq!(whole.as_ptr(), frame(&mut shown, 0).0.as_ptr());
    shown.here(99, "", "");
    shown.told(SECOND);
    let (whole, version) = frame(&mut shown, first);
    assert_eq!(
        (read(&whole).matches('=').count(), version),
        (RECENT + 1, shown.version)
    );
}

#[test]
fn a_state_that_is_wanted_later_is_the_one_that_was_told() {
    let mut shown = Shown::new(9);
    shown.here(1, "ann", "");
    assert_eq!(shown.told(SECOND), "=ann 1");
    shown.here(2, "bob", "");
    let (whole, version) = shown.view.next_frame(&room(), 0).unwrap();
    assert_eq!((read(&whole), version), ("=ann 1".into(), shown.version));
    assert_eq!(shown.told(SECOND), "+bob 2");
}

#[test]
fn a_change_that_names_more_than_there_are_is_told_as_a_whole() {
    let mut shown = Shown::new(999);
    let names: Vec<_> = (0..SHORT).map(|n| format!("u{n}")).collect();
    shown.here(1 + SHORT, &format!("ann {}", names.join(" ")), "");
    shown.told(SECOND);
    shown.here(1, "", &names.join(" "));
    assert!(shown.told(LINGER).starts_with("-u0 "), "few enough");
    let names: Vec<_> = (0..=SHORT).map(|n| format!("u{n}")).collect();
    shown.here(2 + SHORT, &names.join(" "), "");
    assert!(shown.told(SECOND).starts_with("+u0 "), "as many as there are");
    shown.here(1, "", &names.join(" "));
    assert_eq!(shown.told(LINGER), "=ann 1");
}
