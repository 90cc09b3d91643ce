package applier

import (
	"math"
	"testing"
	"time"

	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/logclock"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/replica"
	"canopy/etcdserver/snapshotter"
	"canopy/raft"
	"canopy/store"
)

// batches counts what is published.
type batches struct{ count int }

func (b *batches) Applied(int, time.Duration)                          { b.count++ }
func (*batches) Installed(raft.Index, int64)                           {}
func (*batches) MemberChanged(*replica.Change, replica.ID, replica.ID) {}
func (*batches) MembersPublished(*replica.Head)                        {}
func (*batches) AuthChanged(*auth.State, *auth.State)                  {}

// newTestLoop is a loop that nobody waits for.
func newTestLoop(e Events) *Loop {
	front := snapshotter.New(snapshotter.Options{}).Front()
	return New(Options{
		State: replica.New(1, store.Options{}), Clock: logclock.New(time.Now()), Pending: pending.New(1, pending.BytesMax), Events: e,
		Schedule: snapshotter.NewSchedule(front, snapshotter.ScheduleOptions{MinEntries: math.MaxUint64}),
	})
}

// entriesOf are entries from index 1 on that set one key to so long a value.
func entriesOf(t *testing.T, count, valueBytes int) (entries []raft.Entry) {
	t.Helper()
	key, err := store.ParseKey("k")
	if err != nil {
		t.Fatal(err)
	}
	command, err := store.EncodeCommand(nil, store.Set{Key: key, Value: string(make([]byte, valueBytes))})
	if err != nil {
		t.Fatal(err)
	}
	data, err := (&pb.Request{Kind: &pb.Request_Command{Command: command}, Time: 1}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		entries = append(entries, raft.Entry{Index: raft.Index(i + 1), Term: 1, Data: data})
	}
	return entries
}

// TestBatchesAreBoundedInBytes: large entries are applied a few at a time, small ones many.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	const count = 40
	for _, c := range []struct{ valueBytes, publishedMin, publishedMax int }{
		{64, 1, 1},
		{1 << 20, count, count}, // an event is of twelve times the value
	} {
		published := &batches{}
		loop := newTestLoop(published)
		if err := loop.applyBatch(entriesOf(t, count, c.valueBytes)); err != nil {
			t.Fatal(err)
		}
		if published.count < c.publishedMin || published.count > c.publishedMax {
			t.Errorf("%d values of %d bytes were published %d times, want %d to %d", count, c.valueBytes, published.count, c.publishedMin, c.publishedMax)
		}
	}
}
