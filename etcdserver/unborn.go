package etcdserver

import (
	"errors"
	"path/filepath"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/snap"
	"canopy/wal"
)

// The first start of a member makes a log, and writes the entries that make the
// member one of its cluster. A crash between the two leaves a log that knows who
// it belongs to, and of no member at all: it can neither be elected nor follow.
// But nobody ever heard of it either, since nothing is sent before those entries
// are durable. So the next start is a first start again (B14).

// resume goes on with the log that is there, unless that is unborn.
func resume(d dataDir, o Options, note *identityNote, logger memberLog) (*recovered, error) {
	cutShort, err := unborn(d, o, note)
	if err != nil {
		return nil, err
	}
	if !cutShort {
		return reopen(d, o, logger)
	}
	if err := discardLog(d); err != nil {
		return nil, err
	}
	return create(d, o)
}

// unborn tells whether the log was left by a first start that was cut short. The
// note about the identity is written once the log is whole, and so are all other
// signs of a life: a later term, a snapshot. A member that joined a running
// cluster begins with an empty log, and is not unborn.
func unborn(d dataDir, o Options, note *identityNote) (bool, error) {
	snapshots, err := d.list(d.snap())
	if err != nil || note != nil || len(snapshots) > 0 {
		return false, err
	}
	log, meta, err := wal.Open(d.fs, d.wal, o.walOptions())
	if err != nil {
		return false, nil // a start says what is wrong with it
	}
	identity, tail := &pb.Identity{}, newLogTail(snap.Meta{}, nil)
	readable := identity.UnmarshalVT(meta) == nil && log.Replay(0, func(kind wal.Kind, index uint64, payload []byte) error {
		if err := tail.record(kind, index, payload); err != nil || tail.unborn() {
			return err
		}
		return errBorn // what follows need not be read
	}) == nil
	if err := log.Close(); err != nil {
		return false, err
	}
	return readable && len(identity.Seeds) == 0 && tail.unborn(), nil
}

var errBorn = errors.New("etcdserver: the log was lived by")

// unborn tells whether the log may be from a first start that was cut short, as far as it was read.
func (t *logTail) unborn() bool {
	whole := t.hard.Commit > 0 && t.hard.Commit <= raft.Index(len(t.entries))
	return t.hard.Term <= 1 && !whole
}

// discardLog removes the files of a log that was never lived by.
func discardLog(d dataDir) error {
	names, err := d.list(d.wal)
	if err != nil {
		return err
	}
	for _, name := range names {
		if filepath.Ext(name) != ".wal" && filepath.Ext(name) != ".tmp" {
			continue
		}
		if err := d.fs.Remove(filepath.Join(d.wal, name)); err != nil {
			return &DataDirError{Dir: d.root, Reason: "cannot remove what a first start that was cut short has left", Err: err}
		}
	}
	return d.fs.SyncDir(d.wal)
}
