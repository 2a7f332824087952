//! Cutting a stream of bytes into lines, or into the records of a CSV file, in bounded memory.

/// A line, without its line break.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// From 1; blank lines count. Of a record with line breaks in it, the first.
    pub(crate) number: u64,
    /// The bytes, which need not be UTF-8.
    pub(crate) bytes: Vec<u8>,
}

/// A line, or the white space between two lines, is longer than the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLong;

/// Cuts what it is fed into lines and skips blank ones. A UTF-8 byte order mark before the first is skipped too.
///
/// It holds at most the limit and one fed chunk. White space between lines counts as a line of its own, so that
/// nothing of endless length passes, whatever it consists of.
pub(crate) struct Lines {
    limit: usize,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer.
    start: usize,
    /// How far the buffer was searched for a line break.
    searched: usize,
    /// Bytes of blank lines since the last line.
    blank: usize,
    /// Lines that were cut off the buffer so far.
    number: u64,
    begun: bool,
    /// Only in CSV, where a line break in quotes is part of its cell.
    quotes: Option<Quotes>,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Lines {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            blank: 0,
            number: 0,
            begun: false,
            quotes: None,
        }
    }

    /// Cuts into CSV records: lines that may go on after a line break in quotes.
    pub(crate) fn of_csv(limit: usize, delimiter: u8) -> Self {
        Self {
            quotes: Some(Quotes::new(delimiter)),
            ..Self::new(limit)
        }
    }

    /// Whether what was fed so far ends inside of quotes.
    pub(crate) fn is_in_quotes(&self) -> bool {
        self.quotes.as_ref().is_some_and(Quotes::is_open)
    }

    /// Lines cut so far, blank ones too.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Takes in the next bytes of the stream.
    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole line that is not blank; none when more bytes are needed.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line>, TooLong> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let found = match &mut self.quotes {
                None => rest.iter().position(|byte| *byte == b'\n'),
                Some(quotes) => rest.iter().position(|byte| quotes.is_break(*byte)),
            };
            let Some(length) = found else {
                self.searched = self.buffer.len();
                return match self.searched - self.start > self.limit {
                    true => Err(TooLong),
                    false => Ok(None),
                };
            };
            let end = self.searched + length;
            let line = self.cut(end, end + 1)?;
            if line.is_some() {
                return Ok(line);
            }
        }
    }

    /// The last line, when the stream ends without a line break.
    pub(crate) fn last_line(&mut self) -> Result<Option<Line>, TooLong> {
        let end = self.buffer.len();
        match end > self.start {
            true => self.cut(end, end),
            false => Ok(None),
        }
    }

    /// Cuts off a line up to `end`; none when it is blank.
    fn cut(&mut self, end: usize, next: usize) -> Result<Option<Line>, TooLong> {
        let mut bytes = self.buffer.get(self.start..end).unwrap_or_default();
        if !self.begun {
            self.begun = true;
            bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        }
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let blank = bytes.iter().all(u8::is_ascii_whitespace);
        self.blank = if blank { self.blank + next - self.start } else { 0 };
        if bytes.len() > self.limit || self.blank > self.limit {
            return Err(TooLong);
        }
        let inside = bytes.iter().filter(|byte| **byte == b'\n').count();
        let line = (!blank).then(|| Line {
            number: self.number + 1,
            bytes: bytes.to_vec(),
        });
        self.number += 1 + u64::try_from(inside).unwrap_or(u64::MAX);
        self.start = next;
        self.searched = next;
        Ok(line)
    }
}

/// Where quotes open and close, by the rules of RFC 4180; a quote inside of an unquoted cell is a character.
struct Quotes {
    delimiter: u8,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first cell may follow a byte order mark.
    FileStart,
    CellStart,
    Cell,
    Quoted,
    /// After a quote in quotes: they close, or it is doubled.
    QuoteInQuotes,
}

impl Quotes {
    fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            at: At::FileStart,
        }
    }

    fn is_open(&self) -> bool {
        self.at == At::Quoted
    }

    /// Takes the next byte; whether it ends a record.
    fn is_break(&mut self, byte: u8) -> bool {
        let between = byte == self.delimiter || byte == b'\n';
        self.at = match (self.at, byte) {
            (At::Quoted, b'"') => At::QuoteInQuotes,
            (At::Quoted, _) => At::Quoted,
            _ if between => At::CellStart,
            (At::FileStart | At::CellStart | At::QuoteInQuotes, b'"') => At::Quoted,
            (At::FileStart, byte) if BYTE_ORDER_MARK.contains(&byte) => At::FileStart,
            _ => At::Cell,
        };
        byte == b'\n' && self.at == At::CellStart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a text in pieces of every length and answers the lines as text.
    fn lines(text: &[u8], limit: usize) -> Result<Vec<(u64, String)>, TooLong> {
        cut_anyhow(text, || Lines::new(limit))
    }

    fn cut_anyhow(text: &[u8], new: impl Fn() -> Lines) -> Result<Vec<(u64, String)>, TooLong> {
        let mut answers = Vec::new();
        for size in 1..=text.len().max(1) {
            answers.push(cut(text.chunks(size), new()));
        }
        assert!(
            answers.windows(2).all(|pair| pair[0] == pair[1]),
            "the same however it is cut into pieces"
        );
        answers.remove(0)
    }

    fn cut<'a>(
        chunks: impl Iterator<Item = &'a [u8]>,
        mut lines: Lines,
    ) -> Result<Vec<(u64, String)>, TooLong> {
        let mut out = Vec::new();
        let mut keep =
            |line: Line| out.push((line.number, String::from_utf8_lossy(&line.bytes).into_owned()));
        for chunk in chunks {
            lines.feed(chunk);
            while let Some(line) = lines.next_line()? {
                keep(line);
            }
        }
        lines.last_line()?.map(&mut keep);
        Ok(out)
    }

    #[test]
    fn blank_lines_are_skipped_and_counted() {
        let expected = vec![(1, "a".to_owned()), (4, "b".to_owned()), (5, "c".to_owned())];
        assert_eq!(lines(b"\xef\xbb\xbfa\r\n\r\n \t\nb\nc", 100), Ok(expected));
        assert_eq!(lines(b"", 100), Ok(vec![]));
        assert_eq!(lines(b"\n\n", 100), Ok(vec![]));
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        assert_eq!(lines(b"abcd\nabcd", 4).map(|lines| lines.len()), Ok(2));
        assert_eq!(lines(b"a\nabcde\n", 4), Err(TooLong));
        assert_eq!(lines(b"a\nabcde", 4), Err(TooLong));
    }

    #[test]
    fn white_space_without_end_is_too_long() {
        let text = [b"a".as_slice(), &[b'\n'; 1000], b"b"].concat();
        assert_eq!(lines(&text, 900), Err(TooLong));
        assert_eq!(lines(&text, 1000).map(|lines| lines.len()), Ok(2));
    }

    #[test]
    fn a_line_break_in_quotes_is_part_of_its_record() {
        let text = b"\xef\xbb\xbf\"a\nb\",c\r\n5\" pipe,\"x\"\"\n\"\"y\"\n\nz";
        let records = cut_anyhow(text, || Lines::of_csv(100, b','));
        let expected = vec![
            (1, "\"a\nb\",c".to_owned()),
            (3, "5\" pipe,\"x\"\"\n\"\"y\"".to_owned()),
            (6, "z".to_owned()),
        ];
        assert_eq!(records, Ok(expected));
    }

    #[test]
    fn quotes_that_never_close_are_noticed() {
        let mut lines = Lines::of_csv(100, b',');
        lines.feed(b"a,b\n1,\"2\n3,4\n");
        assert_eq!(
            lines.next_line().map(|line| line.map(|line| line.number)),
            Ok(Some(1))
        );
        assert_eq!(lines.next_line(), Ok(None));
        assert!(lines.is_in_quotes());
    }
}
