package raft

import "slices"

// log is the part of the log that is in memory: entries (base, last]. What lies at or before base is in a snapshot.
//
// Entries lie in chunks, so that a log of any length grows without being moved. Slices of it are handed out and stay
// valid, so an entry's place in memory is never written twice: a chunk that loses entries is made anew.
type log struct {
	base     Index
	baseTerm Term
	chunks   [][]Entry // each but the last has chunkEntries; those of the first up to base are zero
	skipped  int       // of the first chunk: how many of its entries are those up to base
	count    int       // entries behind base
	bytes    int64     // memory taken by entries
	handed   Index     // up to here entries were handed out to be written
	durable  Index     // up to here entries are on disk
}

// chunkEntries is how many entries lie side by side: 24 KiB of them, which the allocator still has ready.
const chunkEntries = 512

// entryOverhead is about what an entry takes besides its data.
const entryOverhead = 64

func (e *Entry) size() int64 { return int64(len(e.Data)) + entryOverhead }

func (l *log) last() Index { return l.base + Index(l.count) }

func (l *log) lastTerm() Term { return l.term(l.last()) }

// term gives the term of the entry at i, which must be at or behind base.
func (l *log) term(i Index) Term {
	assert(l.base <= i && i <= l.last(), "the entry whose term is asked for is in the log", i, l.base, l.last())
	if i == l.base {
		return l.baseTerm
	}
	return l.at(i).Term
}

// at gives the entry at i, which must be behind base.
func (l *log) at(i Index) *Entry {
	chunk, place := l.place(i)
	return &l.chunks[chunk][place]
}

// place says where the entry at i is, or would be.
func (l *log) place(i Index) (chunk, place int) {
	n := int(i-l.base) - 1 + l.skipped
	return n / chunkEntries, n % chunkEntries
}

// agrees says whether the log holds an entry of this index and term. All before base is committed, hence agreed on.
func (l *log) agrees(i Index, t Term) bool {
	return i < l.base || i <= l.last() && l.term(i) == t
}

// slice gives the entries in (after, upTo]: a copy if they are not in one chunk.
func (l *log) slice(after, upTo Index) []Entry {
	assert(l.base <= after && after <= upTo && upTo <= l.last(),
		"the entries asked for are in the log", after, upTo, l.base, l.last())
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

// page gives entries from behind after on: as many as fit into a size, at least one if there is any.
func (l *log) page(after Index, bytesMax int64) (entries []Entry, bytes int64) {
	n := after
	for n < l.last() {
		size := l.at(n + 1).size()
		if n > after && bytes+size > bytesMax {
			break
		}
		bytes += size
		n++
	}
	return l.slice(after, n), bytes
}

// size is the memory taken by the entries in (after, upTo], as far as they are in the log.
func (l *log) size(after, upTo Index) (bytes int64) {
	for i := max(after, l.base) + 1; i <= min(upTo, l.last()); i++ {
		bytes += l.at(i).size()
	}
	return bytes
}

// append adds an entry at the end.
func (l *log) append(e Entry) {
	assert(e.Index == l.last()+1, "an entry is appended behind the last", e.Index, l.last())
	chunk, _ := l.place(e.Index)
	if chunk == len(l.chunks) {
		l.chunks = append(l.chunks, make([]Entry, 0, chunkEntries))
	}
	l.chunks[chunk] = append(l.chunks[chunk], e)
	l.count++
	l.bytes += e.size()
}

// truncate drops all entries behind an index.
func (l *log) truncate(after Index) {
	for i := l.last(); i > after; i-- {
		l.bytes -= l.at(i).size()
	}
	chunk, keep := l.place(after + 1)
	if chunk < len(l.chunks) {
		l.chunks[chunk] = renewed(l.chunks[chunk][:keep], 0)
		l.chunks = slices.Delete(l.chunks, chunk+1, len(l.chunks))
	}
	l.count = int(after - l.base)
	l.handed = min(l.handed, after)
	l.durable = min(l.durable, after)
}

// renewed is a chunk of the same entries in other memory; the first of them are left out, but not their places.
func renewed(chunk []Entry, leftOut int) []Entry {
	fresh := make([]Entry, len(chunk), chunkEntries)
	copy(fresh[leftOut:], chunk[leftOut:])
	return fresh
}

// reset replaces the log by a snapshot, which is yet to become durable. Entries up to agreed are those of the snapshot too.
func (l *log) reset(snapshot SnapshotMeta, agreed Index) {
	*l = log{
		base: snapshot.Index, baseTerm: snapshot.Term,
		handed: snapshot.Index, durable: min(l.durable, agreed),
	}
}

// compact forgets entries up to an index. They can be freed once nobody uses slices of them.
func (l *log) compact(upTo Index) {
	if upTo <= l.base {
		return
	}
	term := l.term(upTo)
	for i := l.base + 1; i <= upTo; i++ {
		l.bytes -= l.at(i).size()
	}
	chunk, place := l.place(upTo + 1)
	l.chunks = slices.Delete(l.chunks, 0, chunk)
	if l.skipped = place; len(l.chunks) > 0 {
		l.chunks[0] = renewed(l.chunks[0], place)
	}
	l.count -= int(upTo - l.base)
	l.base, l.baseTerm = upTo, term
}

// lastNotAfter gives the last index at or before i whose term is at most t: where two logs can agree at most, if one
// has term t at i (end of 5.3 of the Raft paper). It does not go below base.
func (l *log) lastNotAfter(i Index, t Term) (Index, Term) {
	i = max(min(i, l.last()), l.base)
	for i > l.base && l.term(i) > t {
		i--
	}
	return i, l.term(i)
}
