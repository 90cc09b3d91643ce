package datadir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/snap"
)

// TestTheTailHandsOutWhatIsCommitted: entries are given away, in bounded batches, as soon as a hard state says that they
// are committed; and none that may still be replaced.
func TestTheTailHandsOutWhatIsCommitted(t *testing.T) {
	var batches [][]raft.Entry
	tail := newLogTail(snap.Meta{Index: 5, Term: 3}, func(b batch) error {
		batches = append(batches, b.entries)
		return nil
	})
	entry := func(index int, data []byte) {
		t.Helper()
		payload, err := (&pb.Entry{Term: 3, Data: data}).MarshalVT()
		if err == nil {
			err = tail.record(EntryRecord, uint64(index), payload)
		}
		if err != nil {
			t.Fatal(err)
		}
		clear(payload) // valid during the call only
	}
	committed := func(index int) {
		t.Helper()
		payload, err := (&pb.HardState{Term: 3, Commit: uint64(index)}).MarshalVT()
		if err == nil {
			err = tail.record(HardStateRecord, 0, payload)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const last = 5 + 3*tailBatchEntries
	for i := 6; i <= last; i++ {
		entry(i, []byte(fmt.Sprint(i)))
	}
	committed(5)
	committed(5 + tailBatchEntries - 1)
	if len(batches) != 0 {
		t.Fatalf("%d batches before there are %d committed entries", len(batches), tailBatchEntries)
	}
	committed(last - 1)
	if len(batches) != 3 || len(tail.entries) != 1 {
		t.Fatalf("%d batches, and %d entries left; want 3 and 1", len(batches), len(tail.entries))
	}
	for i := range 4 {
		entry(last+i, bytes.Repeat([]byte{byte('a' + i)}, tailBatchBytes)) // the first one replaces the last of those above
	}
	committed(last + 3)
	next := raft.Index(6)
	for n, batch := range batches {
		if n >= 3 && len(batch) != 1 {
			t.Errorf("batch %d has %d long entries, want 1", n, len(batch))
		}
		for _, e := range batch {
			want := fmt.Sprint(e.Index)
			if e.Index >= last {
				want = strings.Repeat(string(rune('a'+e.Index-last)), tailBatchBytes)
			}
			if e.Index != next || string(e.Data) != want {
				t.Fatalf("batch %d has entry %d of %d bytes, want entry %d", n, e.Index, len(e.Data), next)
			}
			next++
		}
	}
	if next != last+4 {
		t.Errorf("entries up to %d were handed out, want %d", next-1, last+3)
	}
	payload, err := (&pb.Entry{Term: 4}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.record(EntryRecord, last, payload); err == nil || !strings.Contains(err.Error(), "was committed") {
		t.Errorf("an entry in place of a committed one: %v", err)
	}
}

// TestAPipeIsBoundedInBytes: who puts waits until those who take are done with enough; an item beyond the bound goes alone.
func TestAPipeIsBoundedInBytes(t *testing.T) {
	p := newPipe[int](100, 10)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for item, bytes := range []int64{4, 6} {
		if err := p.put(ctx, item, bytes); err != nil {
			t.Fatal(err)
		}
	}
	full, give := context.WithCancel(ctx)
	give()
	if err := p.put(full, 2, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("an item beyond the bound is taken: %v", err)
	}
	put := make(chan error, 1)
	go func() {
		defer p.close()
		put <- p.put(ctx, 2, 1000)
	}()
	var got []int
	err := p.each(ctx, func(item int) error {
		if got = append(got, item); item < 2 {
			select {
			case err := <-put:
				return fmt.Errorf("the large item is not alone: %w", errors.Join(io.EOF, err))
			default:
			}
		}
		return nil
	})
	if err != nil || fmt.Sprint(got) != "[0 1 2]" {
		t.Errorf("items %v, %v", got, err)
	}
}
