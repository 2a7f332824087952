//! Who may run beside whom: a test that disturbs a service which others use runs alone.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Tests at once: each starts several processes, and few machines have many cores.
const MOST: u32 = 2;

static TURNS: Semaphore = Semaphore::const_new(MOST as usize);

/// A turn beside another test.
pub(crate) async fn beside_another() -> SemaphorePermit<'static> {
    TURNS.acquire().await.expect("the turns are never closed")
}

/// A turn alone.
pub(crate) async fn alone() -> SemaphorePermit<'static> {
    TURNS
        .acquire_many(MOST)
        .await
        .expect("the turns are never closed")
}
