package raft

import (
	"testing"

	"canopy/internal/rng"
)

// The log is compared with a plain list of terms, of which nothing is ever forgotten. Slices handed out before must keep
// what they held, whatever is done to the log later.
func TestLogAgreesWithAPlainList(t *testing.T) {
	r := rng.New(t)
	for range 200 {
		few := 1 + r.IntN(2)*r.IntN(chunkEntries) // half of the logs go over several chunks
		var l log
		terms := []Term{0} // by index
		type page struct{ handed, copied []Entry }
		var pages []page
		for range 200 {
			switch r.IntN(5) {
			case 0:
				after := l.base + Index(r.Uint64N(uint64(l.last()-l.base)+1))
				l.truncate(after)
				terms = terms[:after+1]
			case 1:
				l.compact(min(l.last(), l.base+Index(r.IntN(4)*few)))
			default:
				for range 1 + r.IntN(few) {
					term := terms[len(terms)-1] + Term(r.IntN(3))
					l.append(Entry{Index: l.last() + 1, Term: term, Data: make([]byte, r.IntN(9))})
					terms = append(terms, term)
				}
			}
			after := l.base + Index(r.Uint64N(uint64(l.last()-l.base)+1))
			got := l.slice(after, after+Index(r.Uint64N(uint64(l.last()-after)+1)))
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

func compareLog(t *testing.T, l *log, terms []Term) {
	t.Helper()
	if int(l.last()) != len(terms)-1 {
		t.Fatalf("last = %d, want %d", l.last(), len(terms)-1)
	}
	bytes := int64(0)
	for i := l.base; i <= l.last(); i++ {
		if l.term(i) != terms[i] || !l.agrees(i, terms[i]) {
			t.Fatalf("term of %d = %d, want %d", i, l.term(i), terms[i])
		}
		if i > l.base {
			bytes += l.at(i).size()
		}
	}
	if bytes != l.bytes {
		t.Fatalf("bytes = %d, want %d", l.bytes, bytes)
	}
}

// However long the log, it is not moved when it grows: that would hold up writes, for longer and longer.
func TestALongLogIsNotMoved(t *testing.T) {
	var l log
	l.append(Entry{Index: 1})
	first := l.at(1)
	grow := func() {
		for range chunkEntries {
			l.append(Entry{Index: l.last() + 1})
		}
	}
	for range 100 {
		grow()
	}
	if l.at(1) != first {
		t.Error("the first entry has been moved")
	}
	if n := testing.AllocsPerRun(100, grow); n > 1 { // and now and then the list of chunks
		t.Errorf("%v allocations for %d entries, want one chunk", n, chunkEntries)
	}
}

func TestPageHoldsWhatFitsAndAtLeastOne(t *testing.T) {
	var l log
	for i := range 5 {
		l.append(Entry{Index: Index(i + 1), Term: 1, Data: make([]byte, 36)}) // 100 bytes with what it takes besides
	}
	for _, c := range []struct {
		after    Index
		bytesMax int64
		want     int
	}{{0, 1, 1}, {0, 100, 1}, {0, 199, 1}, {0, 200, 2}, {0, 1000, 5}, {3, 1000, 2}, {5, 1000, 0}} {
		entries, bytes := l.page(c.after, c.bytesMax)
		if len(entries) != c.want || bytes != int64(100*c.want) {
			t.Errorf("page(%d, %d) = %d entries of %d bytes, want %d", c.after, c.bytesMax, len(entries), bytes, c.want)
		}
	}
}

// What a conflict is answered with: the last entry that can agree with one of a term at an index.
func TestLastNotAfter(t *testing.T) {
	l := log{base: 10, baseTerm: 1}
	for i, term := range []Term{1, 1, 4, 4, 6} { // 11 to 15
		l.append(Entry{Index: 11 + Index(i), Term: term})
	}
	for _, c := range []struct {
		i        Index
		t        Term
		want     Index
		wantTerm Term
	}{
		{15, 6, 15, 6}, {15, 5, 14, 4}, {14, 3, 12, 1}, {99, 9, 15, 6}, {13, 9, 13, 4}, {15, 0, 10, 1}, {3, 1, 10, 1},
	} {
		if got, term := l.lastNotAfter(c.i, c.t); got != c.want || term != c.wantTerm {
			t.Errorf("lastNotAfter(%d, %d) = %d, %d, want %d, %d", c.i, c.t, got, term, c.want, c.wantTerm)
		}
	}
}
