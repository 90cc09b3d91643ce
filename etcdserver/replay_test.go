package etcdserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
	"canopy/store"
	"canopy/wal"
)

// lived is the disk of a member that wrote a lot of all kinds, and was stopped.
func lived(t *testing.T, o Options, value func(i int) string) {
	t.Helper()
	m := start(t, o)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 120 {
				key := mustKey(t, fmt.Sprintf("d%d/k%d", w, i%7))
				var c store.Command = store.Set{Key: key, Value: value(i)}
				switch i % 10 {
				case 3:
					c = store.CreateInOrder{Dir: mustKey(t, "queue"), Value: value(i)}
				case 5:
					c = store.Delete{Key: key}
				case 7:
					c = store.Set{Key: key, Value: value(i), TTL: store.TTL{Set: true, Seconds: 3600}}
				case 8:
					c = store.Set{Key: key, Refresh: true, TTL: store.TTL{Set: true, Seconds: 7200}}
				case 9:
					c = store.Delete{Key: mustKey(t, fmt.Sprintf("d%d", w)), Recursive: true}
				}
				var refused *store.Error
				if _, err := m.Do(context.Background(), c); err != nil && !errors.As(err, &refused) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	m.halt()
}

// TestReplayMakesTheSameState: what is applied beside reading is, to the byte, what applying one entry after the other
// makes: the tree, the history, the sessions, the members. So it is behind a snapshot, and without one.
func TestReplayMakesTheSameState(t *testing.T) {
	for _, snapshotEvery := range []uint64{300, 1_000_000} {
		t.Run(fmt.Sprint(snapshotEvery), func(t *testing.T) {
			t.Parallel()
			o := testOptions(disk.NewMem()).withDefaults()
			o.SnapshotEntries, o.Store = snapshotEvery, store.Options{HistoryEvents: 200}
			lived(t, o, func(i int) string { return strings.Repeat("<v\x01>", i) })
			fresh := func() *recovered {
				r, err := reopen(dataDir{fs: o.FS, root: o.DataDir, wal: dataDir{root: o.DataDir}.usualWAL()}, o, memberLog{entry: quietLog().WithField("", "")})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			r := fresh()
			defer r.log.Close()
			if r.state.Index < 500 || r.raft.Applied != r.state.Index {
				t.Fatalf("applied up to %d, and raft is told %d", r.state.Index, r.raft.Applied)
			}
			if want, got := onebyone(t, o, r), stateBytes(t, r); !bytes.Equal(got, want) {
				t.Errorf("the state of %d bytes at %d differs from one of %d", len(got), r.state.Index, len(want))
			}
		})
	}
}

func stateBytes(t *testing.T, r *recovered) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.state.Snapshot().Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// onebyone is the state that the log of r makes up to where it was applied, one entry after the other.
func onebyone(t *testing.T, o Options, r *recovered) []byte {
	t.Helper()
	plain := &recovered{identity: r.identity, state: replica.New(r.cluster(), o.Store)}
	if err := r.log.Close(); err != nil {
		t.Fatal(err)
	}
	log, _, err := wal.Open(o.FS, dataDir{root: o.DataDir}.usualWAL(), o.walOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	tail := newLogTail(snap.Meta{}, nil)
	if err := log.Replay(0, tail.record); err != nil {
		t.Fatal(err)
	}
	for _, e := range tail.entries {
		if e.Index > r.state.Index {
			break
		}
		var content replica.Content
		if err := content.Decode(e); err != nil {
			t.Fatal(err)
		}
		if err := plain.apply(e, &content, memberLog{entry: quietLog().WithField("", "")}); err != nil {
			t.Fatal(err)
		}
		plain.state.Store.Publish()
	}
	return stateBytes(t, plain)
}

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
			err = tail.record(recordEntry, uint64(index), payload)
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
			err = tail.record(recordHardState, 0, payload)
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
	if err := tail.record(recordEntry, last, payload); err == nil || !strings.Contains(err.Error(), "was committed") {
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
