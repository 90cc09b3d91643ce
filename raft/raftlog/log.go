// Package raftlog has the entries of raft's log that are in memory. It is a data structure without a protocol.
//
//	Base <= Handed <= Last,  Durable <= Last   Durable < Base: a snapshot that was received is not on disk yet
//
// Entries lie in chunks, so that a log of any length grows without being moved. Slices of it are handed out and stay valid, so
// an entry's place in memory is never written twice: a chunk that loses entries is copied.
package raftlog

import (
	"slices"

	"canopy/raft/assert"
)

// Index is a position in the log. The first entry has index 1; 0 is the position before it.
type Index uint64

// Term is the time of one leader, or of one attempt to elect one. Terms begin at 1; 0 is the term before any election.
type Term uint64

// EntryType says how to read an entry's data.
type EntryType uint8

// The types of entries.
const (
	EntryNormal     EntryType = iota // data of the owner; nil for the entry that opens a leader's term
	EntryConfChange                  // an encoded ConfChange
)

// Entry is one record of the log. Its data is never changed once the machine has it.
type Entry struct {
	Index Index
	Term  Term
	Type  EntryType
	Data  []byte
}

// A Log is the part of the log that is in memory: entries (Base, Last]. What lies at or before Base is in a snapshot.
type Log struct {
	base     Index
	baseTerm Term
	chunks   [][]Entry // each but the last has chunkEntries; in the first, those up to base are zero
	skipped  int       // of the first chunk: how many of its entries are those up to base
	count    int       // entries behind base
	bytes    int64     // memory taken by entries
	Handed   Index     // up to here entries were handed out to be written; Handed <= Last
	Durable  Index     // up to here entries are on disk; Durable <= Last
}

// chunkEntries is the number of entries in a chunk: 24 KiB, which is still a size class of the allocator.
const chunkEntries = 512

// entryOverhead is about what an entry takes besides its data.
const entryOverhead = 64

// Size is the memory that an entry takes, about.
func (e *Entry) Size() int64 { return int64(len(e.Data)) + entryOverhead }

// New makes a log that begins behind a position.
func New(base Index, baseTerm Term) Log {
	return Log{base: base, baseTerm: baseTerm}
}

// Base is the position before the first entry.
func (l *Log) Base() Index { return l.base }

// BaseTerm is the term of the entry at Base.
func (l *Log) BaseTerm() Term { return l.baseTerm }

// Len is the number of entries.
func (l *Log) Len() int { return l.count }

// Bytes is the memory that all entries take.
func (l *Log) Bytes() int64 { return l.bytes }

// Last is the position of the last entry, or Base.
func (l *Log) Last() Index { return l.base + Index(l.count) }

// LastTerm is the term of the last entry.
func (l *Log) LastTerm() Term { return l.Term(l.Last()) }

// Term gives the term of the entry at i, which must be at or behind base.
func (l *Log) Term(i Index) Term {
	assert.That(l.base <= i && i <= l.Last(), "the entry whose term is asked for is in the log", i, l.base, l.Last())
	if i == l.base {
		return l.baseTerm
	}
	return l.At(i).Term
}

// At gives the entry at i, which must be behind base.
func (l *Log) At(i Index) *Entry {
	chunk, place := l.place(i)
	return &l.chunks[chunk][place]
}

// place gives the place of the entry at i, which may be the next one.
func (l *Log) place(i Index) (chunk, place int) {
	n := int(i-l.base) - 1 + l.skipped
	return n / chunkEntries, n % chunkEntries
}

// Agrees tells whether the log has an entry of this index and term. All before Base is committed, so it agrees.
func (l *Log) Agrees(i Index, t Term) bool {
	return i < l.base || i <= l.Last() && l.Term(i) == t
}

// Slice gives the entries in (after, upTo]: a copy if they are not in one chunk.
func (l *Log) Slice(after, upTo Index) []Entry {
	assert.That(l.base <= after && after <= upTo && upTo <= l.Last(),
		"the entries asked for are in the log", after, upTo, l.base, l.Last())
	if after == upTo {
		return nil
	}
	chunk, from := l.place(after + 1)
	end, to := l.place(upTo)
	if chunk == end {
		return l.chunks[chunk][from : to+1 : to+1]
	}
	entries := make([]Entry, 0, upTo-after)
	for ; chunk < end; chunk++ {
		entries = append(entries, l.chunks[chunk][from:]...)
		from = 0
	}
	return append(entries, l.chunks[end][:to+1]...)
}

// Page gives the entries behind an index: as many as fit into a size, and at least one if there is any.
func (l *Log) Page(after Index, bytesMax int64) (entries []Entry, bytes int64) {
	n := after
	for n < l.Last() {
		size := l.At(n + 1).Size()
		if n > after && bytes+size > bytesMax {
			break
		}
		bytes += size
		n++
	}
	return l.Slice(after, n), bytes
}

// Size is the memory taken by the entries in (after, upTo], as far as they are in the log.
func (l *Log) Size(after, upTo Index) (bytes int64) {
	for i := max(after, l.base) + 1; i <= min(upTo, l.Last()); i++ {
		bytes += l.At(i).Size()
	}
	return bytes
}

// Append adds an entry at the end.
func (l *Log) Append(e Entry) {
	assert.That(e.Index == l.Last()+1, "an entry is appended behind the last", e.Index, l.Last())
	chunk, _ := l.place(e.Index)
	if chunk == len(l.chunks) {
		l.chunks = append(l.chunks, make([]Entry, 0, chunkEntries))
	}
	l.chunks[chunk] = append(l.chunks[chunk], e)
	l.count++
	l.bytes += e.Size()
}

// Truncate drops all entries behind an index.
func (l *Log) Truncate(after Index) {
	for i := l.Last(); i > after; i-- {
		l.bytes -= l.At(i).Size()
	}
	chunk, keep := l.place(after + 1)
	if chunk < len(l.chunks) {
		l.chunks[chunk] = renewed(l.chunks[chunk][:keep], 0)
		l.chunks = slices.Delete(l.chunks, chunk+1, len(l.chunks))
	}
	l.count = int(after - l.base)
	l.Handed = min(l.Handed, after)
	l.Durable = min(l.Durable, after)
}

// renewed copies a chunk to other memory. It leaves out the first entries, and keeps their places.
func renewed(chunk []Entry, leftOut int) []Entry {
	fresh := make([]Entry, len(chunk), chunkEntries)
	copy(fresh[leftOut:], chunk[leftOut:])
	return fresh
}

// Reset replaces the log by a snapshot up to base, which is not durable yet. Entries up to agreed are in the snapshot, too.
func (l *Log) Reset(base Index, baseTerm Term, agreed Index) {
	*l = Log{
		base: base, baseTerm: baseTerm,
		Handed: base, Durable: min(l.Durable, agreed),
	}
}

// Compact drops entries up to an index. Their memory is free when no slice of them is used any more.
func (l *Log) Compact(upTo Index) {
	if upTo <= l.base {
		return
	}
	term := l.Term(upTo)
	for i := l.base + 1; i <= upTo; i++ {
		l.bytes -= l.At(i).Size()
	}
	chunk, place := l.place(upTo + 1)
	l.chunks = slices.Delete(l.chunks, 0, chunk)
	if l.skipped = place; len(l.chunks) > 0 {
		l.chunks[0] = renewed(l.chunks[0], place)
	}
	l.count -= int(upTo - l.base)
	l.base, l.baseTerm = upTo, term
}

// LastNotAfter gives the last index at or before i whose term is at most t: where two logs can agree at most, if one
// has term t at i (end of 5.3 of the Raft paper). It does not go below base.
func (l *Log) LastNotAfter(i Index, t Term) (Index, Term) {
	i = max(min(i, l.Last()), l.base)
	for i > l.base && l.Term(i) > t {
		i--
	}
	return i, l.Term(i)
}
