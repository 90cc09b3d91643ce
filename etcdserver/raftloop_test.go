package etcdserver

import (
	"testing"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/replica"
	"canopy/raft"
)

// Entries are forgotten while the apply loop goes on: what is forgotten is applied by one and the same look at it.
func TestForgettingBesideTheApplyLoop(t *testing.T) {
	const last = 200_000
	config := raft.Configuration{Voters: []raft.MemberID{1, 2, 3}}
	entries := make([]raft.Entry, 0, last)
	for i := raft.Index(2); i <= last; i++ {
		entries = append(entries, raft.Entry{Index: i, Term: 1})
	}
	machine, err := raft.New(raft.Config{ID: 1, Random: func(int) int { return 0 }}, raft.State{
		Snapshot:  raft.SnapshotMeta{Index: 1, Term: 1, Configuration: config},
		HardState: raft.HardState{Term: 1, Commit: last},
		Entries:   entries,
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, more := machine.Work(); !more {
			break
		}
	}
	l := &raftLoop{machine: machine, apply: &applyLoop{}}
	members := replica.NewMembership()
	apply := func(i raft.Index) {
		l.apply.present.Store(&replica.Head{Index: i, Term: 1, Config: config, Members: members})
	}
	apply(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := raft.Index(2); i <= last; i++ {
			apply(i)
		}
	}()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		l.handed = datadir.KeepBytes // so much that some has to be forgotten
		if err := l.drive(); err != nil {
			t.Fatal(err)
		}
	}
	if l.generation != last {
		t.Errorf("entries up to %d were considered, want %d", l.generation, last)
	}
}
