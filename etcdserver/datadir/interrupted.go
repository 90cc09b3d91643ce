package datadir

import (
	"errors"
	"path/filepath"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/snap"
	"canopy/wal"
)

// The first start of a member makes a log, and writes the entries that make the
// member one of its cluster. A crash between the two leaves a log with an identity
// and without members: this member can neither be elected nor follow. Other
// members do not know it yet, since nothing is sent before those entries are
// durable. So the next start is a first start again (B14).

// resume goes on with the log that is there, unless the first start was interrupted.
func resume(d Dir, o Options, file *identityFile) (*Recovered, error) {
	cutShort, err := wasInterrupted(d, o, file)
	if err != nil {
		return nil, err
	}
	if !cutShort {
		return Read(d, o)
	}
	if err := discardLog(d); err != nil {
		return nil, err
	}
	return create(d, o)
}

// wasInterrupted tells whether the log was left by a first start that was cut short. The
// identity file is written once the log is whole, and so are all other
// signs of a life: a later term, a snapshot. A member that joined a running
// cluster begins with an empty log, and none of this is true of it.
func wasInterrupted(d Dir, o Options, file *identityFile) (bool, error) {
	snapshots, err := d.List(d.Snap())
	if err != nil || file != nil || len(snapshots) > 0 {
		return false, err
	}
	log, meta, err := wal.Open(d.FS, d.WAL, o.WAL)
	if err != nil {
		return false, nil // a start says what is wrong with it
	}
	identity, tail := &pb.Identity{}, newLogTail(snap.Meta{}, nil)
	readable := identity.UnmarshalVT(meta) == nil && log.Replay(0, func(kind wal.Kind, index uint64, payload []byte) error {
		if err := tail.record(kind, index, payload); err != nil || tail.interrupted() {
			return err
		}
		return errCompleted // what follows need not be read
	}) == nil
	if err := log.Close(); err != nil {
		return false, err
	}
	return readable && len(identity.Seeds) == 0 && tail.interrupted(), nil
}

var errCompleted = errors.New("the first start was completed")

// interrupted tells whether the log may be from a first start that was cut short, as far as it was read.
func (t *logTail) interrupted() bool {
	whole := t.hard.Commit > 0 && t.hard.Commit <= raft.Index(len(t.entries))
	return t.hard.Term <= 1 && !whole
}

// discardLog removes the files of a first start that was interrupted.
func discardLog(d Dir) error {
	names, err := d.List(d.WAL)
	if err != nil {
		return err
	}
	for _, name := range names {
		if filepath.Ext(name) != ".wal" && filepath.Ext(name) != ".tmp" {
			continue
		}
		if err := d.FS.Remove(filepath.Join(d.WAL, name)); err != nil {
			return &Error{Dir: d.Root, Reason: "cannot remove what a first start that was cut short has left", Err: err}
		}
	}
	return d.FS.SyncDir(d.WAL)
}
