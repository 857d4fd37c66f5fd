//! How fast a client may be: what is answered to each frame, and when the connection is closed, against whole numbers.

use serde_json::Value;

use super::*;
use crate::Rate;

/// What the client sends, after so many eighths of a second.
#[derive(Debug, Clone)]
struct Frame {
    after: u64,
    /// Whether it is of the protocol.
    good: bool,
}

fn frames() -> impl Strategy<Value = (u32, u32, Vec<Frame>)> {
    let after = prop_oneof![6 => Just(0), 1 => 1..20_u64];
    let frame = (after, proptest::bool::weighted(0.4)).prop_map(|(after, good)| Frame { after, good });
    (1..8_u32, 1..5_u32, proptest::collection::vec(frame, 1..80))
}

async fn run(per_second: u32, burst: u32, frames: Vec<Frame>) {
    let mut limits = limits();
    let rate = Rate {
        per_second: per_second.into(),
        burst,
    };
    limits.rate = Some(rate);
    let hub = Hub::builder(crate::MemoryStore::new(), OpenPolicy)
        .limits(limits)
        .build()
        .unwrap();
    let line = Line::default();
    let served = tokio::spawn({
        let (hub, line) = (hub.clone(), line.clone());
        async move { hub.serve(Client::v1(User::named("ann").unwrap()), line).await }
    });
    settle().await;
    // In eighths of a token.
    let full = u64::from(burst) * 8;
    let (mut tokens, mut refused, mut bad, mut close) = (full, 0_u32, 0, None);
    // In milliseconds: now, and when the last that was refused may come again.
    let (mut now, mut turn) = (0.0, f64::NEG_INFINITY);
    let mut seen = line.heard().len();
    for (id, Frame { after, good }) in frames.into_iter().enumerate() {
        tokio::time::advance(Duration::from_millis(125 * after)).await;
        line.say(match good {
            true => json!({"t": "ping", "id": id}).to_string(),
            false => json!({"t": 1, "id": id}).to_string(),
        });
        settle().await;
        let heard = line.heard();
        let new = &heard[seen..];
        seen = heard.len();
        tokens = full.min(tokens + after * u64::from(per_second));
        now += 125.0 * after as f64;
        if tokens == full {
            refused = 0;
        }
        if tokens < 8 {
            refused += 1;
            if refused > 5 * burst {
                close = Some(4002);
                break;
            }
            let [err] = new else { panic!("{new:?}") };
            let one = 1000.0 / f64::from(per_second);
            turn = f64::max(now + (8 - tokens) as f64 / 8.0 * one, turn + one);
            let exact = (turn - now).ceil() as u64;
            assert_eq!((&err["code"], &err["id"]), (&json!("rate_limited"), &json!(id)));
            assert!(
                err["retry_ms"].as_u64().unwrap().abs_diff(exact) <= 1,
                "{err}, not {exact}"
            );
            continue;
        }
        (tokens, refused) = (tokens - 8, refused.saturating_sub(1));
        let (t, code) = if good {
            ("pong", Value::Null)
        } else {
            ("err", json!("bad_request"))
        };
        assert_eq!(
            (&new[0]["t"], &new[0]["code"], &new[0]["id"]),
            (&json!(t), &code, &json!(id))
        );
        bad = if good { 0 } else { bad + 1 };
        if bad == 10 {
            close = Some(4500);
            break;
        }
        assert_eq!(new.len(), 1, "{new:?}");
    }
    assert_eq!(line.close_code(), close);
    line.hang_up();
    let ended = served.await.unwrap().unwrap();
    assert_eq!(ended.code.map(crate::CloseCode::number), close);
}

proptest! {
    #![proptest_config(config(300, "proptest-regressions/rate.txt"))]

    #[test]
    fn the_rate_is_kept_to_the_frame((per_second, burst, frames) in frames()) {
        paused(run(per_second, burst, frames));
    }
}
