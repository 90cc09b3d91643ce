package raftlog

import (
	"testing"

	"canopy/internal/rng"
)

// The log is compared with a plain list of terms, from which nothing is removed. Slices that were handed out keep their contents,
// whatever happens to the log later.
func TestLogAgreesWithAPlainList(t *testing.T) {
	r := rng.New(t)
	for range 200 {
		few := 1 + r.IntN(2)*r.IntN(chunkEntries) // half of the logs go over several chunks
		var l Log
		terms := []Term{0} // by index
		type page struct{ handed, copied []Entry }
		var pages []page
		for range 200 {
			switch r.IntN(5) {
			case 0:
				after := l.base + Index(r.Uint64N(uint64(l.Last()-l.base)+1))
				l.Truncate(after)
				terms = terms[:after+1]
			case 1:
				l.Compact(min(l.Last(), l.base+Index(r.IntN(4)*few)))
			default:
				for range 1 + r.IntN(few) {
					term := terms[len(terms)-1] + Term(r.IntN(3))
					l.Append(Entry{Index: l.Last() + 1, Term: term, Data: make([]byte, r.IntN(9))})
					terms = append(terms, term)
				}
			}
			after := l.base + Index(r.Uint64N(uint64(l.Last()-l.base)+1))
			got := l.Slice(after, after+Index(r.Uint64N(uint64(l.Last()-after)+1)))
			for i, e := range got {
				if at := after + 1 + Index(i); e.Index != at || e.Term != terms[at] {
					t.Fatalf("slice behind %d has %d of term %d, want %d of %d", after, e.Index, e.Term, at, terms[at])
				}
			}
			pages = append(pages, page{got, append([]Entry(nil), got...)})
			compareLog(t, &l, terms)
		}
		for _, p := range pages {
			for i := range p.copied {
				if p.handed[i].Index != p.copied[i].Index || p.handed[i].Term != p.copied[i].Term {
					t.Fatalf("entry %+v that was handed out became %+v", p.copied[i], p.handed[i])
				}
			}
		}
	}
}

func compareLog(t *testing.T, l *Log, terms []Term) {
	t.Helper()
	if int(l.Last()) != len(terms)-1 {
		t.Fatalf("last = %d, want %d", l.Last(), len(terms)-1)
	}
	bytes := int64(0)
	for i := l.base; i <= l.Last(); i++ {
		if l.Term(i) != terms[i] || !l.Agrees(i, terms[i]) {
			t.Fatalf("term of %d = %d, want %d", i, l.Term(i), terms[i])
		}
		if i > l.base {
			bytes += l.At(i).Size()
		}
	}
	if bytes != l.bytes {
		t.Fatalf("bytes = %d, want %d", l.bytes, bytes)
	}
}

// A log of any length grows without being moved: a move would delay writes, longer each time.
func TestALongLogIsNotMoved(t *testing.T) {
	var l Log
	l.Append(Entry{Index: 1})
	first := l.At(1)
	grow := func() {
		for range chunkEntries {
			l.Append(Entry{Index: l.Last() + 1})
		}
	}
	for range 100 {
		grow()
	}
	if l.At(1) != first {
		t.Error("the first entry has been moved")
	}
	if n := testing.AllocsPerRun(100, grow); n > 1 { // and sometimes the list of chunks
		t.Errorf("%v allocations for %d entries, want one chunk", n, chunkEntries)
	}
}

func TestPageHoldsWhatFitsAndAtLeastOne(t *testing.T) {
	var l Log
	for i := range 5 {
		l.Append(Entry{Index: Index(i + 1), Term: 1, Data: make([]byte, 36)}) // 100 bytes with the overhead
	}
	for _, c := range []struct {
		after    Index
		bytesMax int64
		want     int
	}{{0, 1, 1}, {0, 100, 1}, {0, 199, 1}, {0, 200, 2}, {0, 1000, 5}, {3, 1000, 2}, {5, 1000, 0}} {
		entries, bytes := l.Page(c.after, c.bytesMax)
		if len(entries) != c.want || bytes != int64(100*c.want) {
			t.Errorf("page(%d, %d) = %d entries of %d bytes, want %d", c.after, c.bytesMax, len(entries), bytes, c.want)
		}
	}
}

// The answer to a conflict is the last entry that can agree with one of a term at an index.
func TestLastNotAfter(t *testing.T) {
	l := Log{base: 10, baseTerm: 1}
	for i, term := range []Term{1, 1, 4, 4, 6} { // 11 to 15
		l.Append(Entry{Index: 11 + Index(i), Term: term})
	}
	for _, c := range []struct {
		i        Index
		t        Term
		want     Index
		wantTerm Term
	}{
		{15, 6, 15, 6}, {15, 5, 14, 4}, {14, 3, 12, 1}, {99, 9, 15, 6}, {13, 9, 13, 4}, {15, 0, 10, 1}, {3, 1, 10, 1},
	} {
		if got, term := l.LastNotAfter(c.i, c.t); got != c.want || term != c.wantTerm {
			t.Errorf("lastNotAfter(%d, %d) = %d, %d, want %d, %d", c.i, c.t, got, term, c.want, c.wantTerm)
		}
	}
}
