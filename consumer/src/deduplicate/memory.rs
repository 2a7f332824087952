//! Marks in this process's own memory, for where there is no Redis: the demo.

use hashlink::LruCache;
use redline_schemas::ContentHash;

use super::Marks;

/// Marks that end with the process; the least recently used ones go first.
pub struct MemoryMarks {
    marked: LruCache<ContentHash, ()>,
}

impl MemoryMarks {
    /// So many marks at most; each takes some 80 bytes.
    pub fn new(most: usize) -> Self {
        Self {
            marked: LruCache::new(most),
        }
    }
}

impl Marks for MemoryMarks {
    async fn seen(&mut self, hashes: &[ContentHash]) -> Vec<bool> {
        hashes
            .iter()
            .map(|hash| self.marked.get(hash).is_some())
            .collect()
    }

    async fn mark(&mut self, hashes: &[ContentHash]) {
        for hash in hashes {
            self.marked.insert(*hash, ());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_marked_is_seen_until_more_than_it_holds_was_marked() {
        let hash = |byte: u8| ContentHash([byte; 32]);
        let mut marks = MemoryMarks::new(2);
        marks.mark(&[hash(1), hash(2)]).await;
        assert_eq!(marks.seen(&[hash(3), hash(1)]).await, [false, true]);
        marks.mark(&[hash(3)]).await;
        assert_eq!(
            marks.seen(&[hash(1), hash(2), hash(3)]).await,
            [true, false, true]
        );
    }
}
