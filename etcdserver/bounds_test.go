package etcdserver

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/store"
	"canopy/wal"
)

// entriesOf are entries from index 1 on that set one key to so long a value.
func entriesOf(t *testing.T, count, valueBytes int) (entries []raft.Entry) {
	t.Helper()
	command, err := store.EncodeCommand(nil, store.Set{Key: mustKey(t, "k"), Value: string(make([]byte, valueBytes))})
	if err != nil {
		t.Fatal(err)
	}
	data, err := (&pb.Request{Command: command, Time: 1}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		entries = append(entries, raft.Entry{Index: raft.Index(i + 1), Term: 1, Data: data})
	}
	return entries
}

// TestBatchesAreBoundedInBytes: large entries are written and applied a few at a time, small ones many.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	const count = 40
	for _, c := range []struct {
		valueBytes, syncsMin, syncsMax, publishedMin, publishedMax int
	}{
		{64, 1, 1, 1, 1},
		{1 << 20, count / 8, count / 4, count, count}, // an event is of twelve times the value
	} {
		entries := entriesOf(t, count, c.valueBytes)
		if got := syncs(t, entries); got < c.syncsMin || got > c.syncsMax {
			t.Errorf("%d values of %d bytes took %d syncs, want %d to %d", count, c.valueBytes, got, c.syncsMin, c.syncsMax)
		}
		published := 0
		loop := newTestApplyLoop(&Observer{Applied: func(int, time.Duration) { published++ }})
		if err := loop.applyBatch(entries); err != nil {
			t.Fatal(err)
		}
		if published < c.publishedMin || published > c.publishedMax {
			t.Errorf("%d values of %d bytes were published %d times, want %d to %d", count, c.valueBytes, published, c.publishedMin, c.publishedMax)
		}
	}
}

// newTestApplyLoop is one that nobody waits for.
func newTestApplyLoop(o *Observer) *applyLoop {
	state := replica.New(1, store.Options{})
	return &applyLoop{
		state: state, store: state.Store, clock: newLogClock(time.Now()), waiters: newWaiters(1), observer: o,
		log:      memberLog{entry: quietLog().WithField("pkg", "test")},
		snapshot: &snapshotter{minEntries: math.MaxUint64}, changed: func(*replica.Head) {},
		deadlineChanged: make(chan struct{}, 1),
	}
}

// syncs counts how often the disk is waited for when entries are written at once.
func syncs(t *testing.T, entries []raft.Entry) (count int) {
	t.Helper()
	log, err := wal.Create(disk.NewMem(), "/wal", nil, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	w := newLogWriter(log, newSpace(16<<20), &Observer{Synced: func(time.Duration, uint64) { count++ }})
	hard := raft.HardState{Term: 1}
	if seq, err := w.write(t.Context(), []raft.Write{{Seq: 3, Entries: entries, HardState: &hard}}); err != nil || seq != 3 {
		t.Fatalf("write %d, %v", seq, err)
	}
	return count
}

func TestAnInboxIsBoundedInBytes(t *testing.T) {
	b := newInbox[int](100).weighing(func(bytes int) int { return bytes }, 10)
	for _, c := range []struct {
		bytes int
		taken bool
	}{{1000, true}, {1, false}} { // one item always fits
		if got := b.put(c.bytes); got != c.taken {
			t.Errorf("an item of %d bytes: %v, want %v", c.bytes, got, c.taken)
		}
	}
	b.take(nil)
	if !b.put(4) || !b.put(6) || b.put(1) {
		t.Error("not exactly ten bytes fit after the inbox was emptied")
	}
}

// TestHeldRequestsAreBoundedInBytes: other members' requests that the leader cannot take now go back when they are too
// many bytes; this process's own are bounded where they wait.
func TestHeldRequestsAreBoundedInBytes(t *testing.T) {
	s := &stage{notes: make(chan []byte, 1)}
	l := &raftLoop{waiters: newWaiters(1), peers: s, requests: requestQueue{heldMax: heldMax}}
	large := make([]byte, heldForeignMax/4)
	var batch []proposal
	for range 6 {
		batch = append(batch, proposal{data: large, from: 2}, proposal{data: large})
	}
	l.hold(batch)
	if len(l.requests.held) != 4+6 {
		t.Errorf("%d requests are held, want 4 of the other member and 6 own", len(l.requests.held))
	}
	var envelope pb.Envelope
	if err := envelope.UnmarshalVT(<-s.notes); err != nil || len(envelope.Returned) != 2 {
		t.Errorf("%d requests went back, want 2; %v", len(envelope.Returned), err)
	}
}

// TestNothingIsAppliedBeforeItIsCommitted: what a member tells of itself does not contradict itself under load.
func TestNothingIsAppliedBeforeItIsCommitted(t *testing.T) {
	o := testOptions(disk.NewMem())
	o.Heartbeat, o.Election = 100*time.Millisecond, time.Second
	m, key := start(t, o), mustKey(t, "k")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	all.Go(func() {
		for ctx.Err() == nil {
			if _, err := m.Do(ctx, store.Set{Key: key, Value: "v"}); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for begin, _ := m.Position(); ; {
		applied, _ := m.Position()
		s := m.Status()
		if s.Applied < raft.Index(applied) || s.Commit < s.Applied {
			t.Fatalf("entry %d is applied; by the status %d are, and %d committed", applied, s.Applied, s.Commit)
		}
		if applied > begin+100 {
			return
		}
	}
}
