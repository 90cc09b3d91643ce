package etcdserver

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"canopy/etcdserver/applier"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
	"canopy/store"
)

// An older snapshot comes late, while a newer one that was taken is on its way
// to the disk: it is the newer one's state that is installed.
func TestALateSnapshotReplacesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(o *Options) {
			o.FS, o.SnapshotEntries = newSlowDisk(o.FS.(*disk.Mem), 1), 10
		})
		leader := c.leader()
		behind := c.others(leader)[0]
		c.net.isolate(behind.ID(), true)
		var metas []snap.Meta
		eventually(t, "two snapshots that the other has not reached", func() bool {
			leader.set("/k", "v")
			var err error
			if metas, err = leader.sender.Dir.List(); err != nil {
				t.Fatal(err)
			}
			at, _ := behind.Position()
			metas = slices.DeleteFunc(metas, func(m snap.Meta) bool { return m.Index <= at })
			return len(metas) >= 2
		})
		newer, newerState := c.carry(leader, behind, metas[0])
		older, olderState := c.carry(leader, behind, metas[1])
		from := leader.ID().Raft()
		if err := behind.raft.TakeSnapshot(t.Context(), from, newer, newerState); err != nil {
			t.Fatal(err)
		}
		if err := behind.raft.TakeSnapshot(t.Context(), from, older, olderState); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the newer one to be installed", func() bool {
			at, _ := behind.Position()
			return at >= metas[0].Index
		})
		c.net.isolate(behind.ID(), false)
		c.agree()
	})
}

// carry brings a snapshot from one member's disk to another's, and loads it there.
func (c *testCluster) carry(from, to *running, meta snap.Meta) (raft.Snapshot, *applier.Installation) {
	c.t.Helper()
	message := raft.Snapshot{Term: raft.Term(from.Status().Term), Meta: raft.SnapshotMeta{
		Index: raft.Index(meta.Index), Term: raft.Term(meta.Term), Configuration: from.apply.Present().Config,
	}}
	var prepared *applier.Installation
	err := from.sender.Dir.Export(meta, func(file io.Reader, _ int64) error {
		return to.sender.Dir.Import(meta, file, func(r io.Reader) (err error) {
			prepared, err = to.peerFront.snapshots.Load(r, message.Meta)
			return err
		})
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return message, prepared
}

// A member stops after it stored a snapshot, and before it wrote the mark of it to its log. It goes on from the snapshot, and
// does so again after later writes.
func TestASnapshotWithoutItsMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(o *Options) { o.SnapshotEntries = 10 })
		leader := c.leader()
		behind := c.others(leader)[0]
		c.net.isolate(behind.ID(), true)
		at, _ := behind.Position()
		var metas []snap.Meta
		eventually(t, "a snapshot that the other has not reached", func() bool {
			leader.set("/k", "v")
			var err error
			if metas, err = leader.sender.Dir.List(); err != nil {
				t.Fatal(err)
			}
			return len(metas) > 0 && metas[0].Index > at+1
		})
		c.carry(leader, behind, metas[0])
		for n := range 2 {
			c.forget(behind)
			behind.halt()
			c.restart(behind.Name())
			behind = c.member(behind.Name())
			c.leader().set("/after", fmt.Sprint(n))
			c.agree()
		}
	})
}

// Two hundred snapshots beside a member that is dead leave nothing behind (R19).
func TestSnapshotsLeaveNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(o *Options) {
			o.SnapshotEntries, o.MaxSnapshots, o.MaxLogs = 1, 3, 1
		})
		leader := c.leader()
		dead := c.others(leader)[0]
		c.forget(dead)
		dead.halt()
		newest := func() raft.Index {
			if meta := leader.sender.Snapshotter.Newest(); meta != nil {
				return meta.Index
			}
			return 0
		}
		heavy := store.CompareAndSwap{Key: mustKey(t, "/none"), PrevValue: strings.Repeat("x", 64<<10)} // in the log, and not in the state
		snapshot := func(times int) {
			for range times {
				before := newest()
				eventually(t, "another snapshot", func() bool {
					if _, err := leader.Do(t.Context(), heavy); err == nil {
						t.Fatal("a swap of a key that is not there has succeeded")
					}
					return newest() > before
				})
			}
		}
		snapshot(5)
		before := runtime.NumGoroutine()
		snapshot(200)
		eventually(t, "as few goroutines as before", func() bool { return runtime.NumGoroutine() <= before+2 })
	})
}
