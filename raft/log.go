package raft

// log is the part of the log that is in memory: entries[i] has index base+1+i. What lies at or before base is in a snapshot.
//
// Slices of it are handed out and stay valid, so an entry's place in memory is never written twice: a truncated log is
// given new memory by the next append.
type log struct {
	base     Index
	baseTerm Term
	entries  []Entry
	bytes    int64 // memory taken by entries
	handed   Index // up to here entries were handed out to be written
	durable  Index // up to here entries are on disk
}

// entryOverhead is about what an entry takes besides its data.
const entryOverhead = 64

func (e *Entry) size() int64 { return int64(len(e.Data)) + entryOverhead }

func (l *log) last() Index { return l.base + Index(len(l.entries)) }

func (l *log) lastTerm() Term { return l.term(l.last()) }

// term gives the term of the entry at i, which must be at or behind base.
func (l *log) term(i Index) Term {
	assert(l.base <= i && i <= l.last(), "the entry whose term is asked for is in the log", i, l.base, l.last())
	if i == l.base {
		return l.baseTerm
	}
	return l.entries[i-l.base-1].Term
}

// at gives the entry at i, which must be behind base.
func (l *log) at(i Index) *Entry { return &l.entries[i-l.base-1] }

// agrees says whether the log holds an entry of this index and term. All before base is committed, hence agreed on.
func (l *log) agrees(i Index, t Term) bool {
	return i < l.base || i <= l.last() && l.term(i) == t
}

// slice gives the entries in (after, upTo].
func (l *log) slice(after, upTo Index) []Entry {
	assert(l.base <= after && after <= upTo && upTo <= l.last(),
		"the entries asked for are in the log", after, upTo, l.base, l.last())
	return l.entries[after-l.base : upTo-l.base : upTo-l.base]
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

// append adds an entry at the end.
func (l *log) append(e Entry) {
	assert(e.Index == l.last()+1, "an entry is appended behind the last", e.Index, l.last())
	l.entries = append(l.entries, e)
	l.bytes += e.size()
}

// truncate drops all entries behind an index.
func (l *log) truncate(after Index) {
	for i := range l.entries[after-l.base:] {
		l.bytes -= l.entries[after-l.base:][i].size()
	}
	keep := after - l.base
	l.entries = l.entries[:keep:keep]
	l.handed = min(l.handed, after)
	l.durable = min(l.durable, after)
}

// reset replaces the log by a snapshot, which is yet to become durable. Entries up to agreed are those of the snapshot too.
func (l *log) reset(snapshot SnapshotMeta, agreed Index) {
	*l = log{
		base: snapshot.Index, baseTerm: snapshot.Term,
		handed: snapshot.Index, durable: min(l.durable, agreed),
	}
}

// compact forgets entries up to an index. What is left moves to new memory, so that the old can be freed once
// nobody uses slices of it.
func (l *log) compact(upTo Index) {
	if upTo <= l.base {
		return
	}
	n := int(upTo - l.base)
	term := l.term(upTo)
	for i := range n {
		l.bytes -= l.entries[i].size()
	}
	l.entries = append(make([]Entry, 0, len(l.entries)-n), l.entries[n:]...)
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
