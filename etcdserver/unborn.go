package etcdserver

import (
	"path/filepath"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
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
	identity, tail := &pb.Identity{}, &logTail{}
	readable := identity.UnmarshalVT(meta) == nil && log.Replay(0, tail.record) == nil
	if err := log.Close(); err != nil {
		return false, err
	}
	hard := tail.hard
	whole := hard.Commit > 0 && hard.Commit <= raft.Index(len(tail.entries))
	return readable && len(identity.Seeds) == 0 && hard.Term <= 1 && !whole, nil
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
