//! A policy that takes its time.

use std::time::Duration;

use async_trait::async_trait;
use roomcast_core::{Denied, Draft, Message, Policy, RoomId, User};
use tokio::time::sleep;

/// A policy whose answer to `send` takes that long.
pub struct Ponders(pub Duration);

#[async_trait]
impl Policy for Ponders {
    async fn join(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }
    async fn send(&self, _: &User, _: &RoomId, _: &mut Draft) -> Result<(), Denied> {
        sleep(self.0).await;
        Ok(())
    }
    async fn edit(&self, _: &User, _: &Message, _: &mut String) -> Result<(), Denied> {
        Ok(())
    }
    async fn delete(&self, _: &User, _: &Message) -> Result<(), Denied> {
        Ok(())
    }
    async fn history(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }
    async fn presence(&self, _: &User, _: &RoomId) -> Result<(), Denied> {
        Ok(())
    }
}
