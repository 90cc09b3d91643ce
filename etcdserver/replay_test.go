package etcdserver

import (
	"bytes"
	"canopy/etcdserver/memberlog"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"canopy/etcdserver/datadir"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
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
			dir := datadir.Dir{FS: o.FS, Root: o.DataDir, WAL: datadir.Dir{Root: o.DataDir}.UsualWAL()}
			r, err := datadir.Recover(dir, o.recovery(memberlog.Early(quietLog())))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Log.Close(); err != nil {
				t.Fatal(err)
			}
			if r.State.Index < 500 || r.Raft.Applied != r.State.Index {
				t.Fatalf("applied up to %d, and raft is told %d", r.State.Index, r.Raft.Applied)
			}
			if want, got := oneByOne(t, dir, o, r), stateBytes(t, r.State); !bytes.Equal(got, want) {
				t.Errorf("the state of %d bytes at %d differs from one of %d", len(got), r.State.Index, len(want))
			}
		})
	}
}

func stateBytes(t *testing.T, s *replica.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Snapshot().Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oneByOne is the state that the log makes up to where r applied it, one entry after the other.
func oneByOne(t *testing.T, dir datadir.Dir, o Options, r *datadir.Recovered) []byte {
	t.Helper()
	log, _, err := wal.Open(dir.FS, dir.WAL, wal.Options{SegmentBytes: o.SegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	plain := replica.New(r.Cluster(), o.Store)
	err = log.Replay(0, func(kind wal.Kind, index uint64, payload []byte) error {
		if kind != datadir.EntryRecord || raft.Index(index) > r.State.Index {
			return nil
		}
		var m pb.Entry
		var content replica.Content
		if err := m.UnmarshalVT(payload); err != nil {
			return err
		}
		e := raft.Entry{Index: raft.Index(index), Term: raft.Term(m.Term), Type: raft.EntryType(m.Type), Data: m.Data}
		if err := content.Decode(e); err != nil {
			return err
		}
		_, err := plain.Apply(e, &content)
		plain.Store.Publish()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return stateBytes(t, plain)
}
