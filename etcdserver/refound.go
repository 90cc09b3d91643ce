package etcdserver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/snap"
	"canopy/wal"
)

// Force says whether a member is to found a cluster of its own from its data,
// because the one it belonged to is lost (B45).
type Force string

// The values of Force.
const (
	NoForce    Force = ""
	ForceOnce  Force = "once"  // not if that was done before, and members were added since
	ForceAgain Force = "again" // even then
)

// refound makes the data of one member of a lost cluster the beginning of a
// new one: its state as a snapshot, an empty log, this member alone,
// under a new cluster id, so that members of the old one cannot mix in (B47).
// The new directory is made beside the old one, which is kept.
func refound(d dataDir, o Options, note *identityNote, logger memberLog) error {
	if d.wal != d.usualWAL() {
		return &DataDirError{Dir: d.root, Reason: "--force-new-cluster needs the log in its usual place, and it is in " + d.wal,
			Advice: "stop, move it to " + d.usualWAL() + ", and remove " + d.identity()}
	}
	r, err := reopen(d, o, logger)
	if err != nil {
		return err
	}
	if err := errors.Join(r.applyAll(logger), r.log.Close()); err != nil {
		return err
	}
	if note != nil && note.Forced {
		if len(r.state.Members.Members) <= 1 {
			logger.forcedBefore()
			return nil
		}
		if o.Force != ForceAgain {
			return &DataDirError{Dir: d.root, Reason: fmt.Sprintf("--force-new-cluster was carried out before, and the cluster has %d members again", len(r.state.Members.Members)),
				Advice: "remove the flag; to throw the others out once more, give --force-new-cluster=again"}
		}
	}
	return r.found(d, o, logger)
}

// applyAll applies the whole log. What is not known to be committed may be all the
// same, and acknowledged: the commit index on disk lags behind. The reference
// drops it (B45).
func (r *recovered) applyAll(logger memberLog) error {
	for _, e := range r.raft.Entries {
		if e.Index <= r.state.Index {
			continue
		}
		var content replica.Content
		if err := content.Decode(e); err != nil {
			return err
		}
		if err := r.apply(e, &content, logger); err != nil {
			return err
		}
	}
	r.state.Store.Publish()
	logger.appliedAll(r.state.Index, r.raft.HardState.Commit)
	return nil
}

// found writes the new member directory, and puts it in place of the old.
func (r *recovered) found(d dataDir, o Options, logger memberLog) error {
	identity := &pb.Identity{Member: r.identity.Member, Incarnation: o.newIncarnation()}
	var id [8]byte
	rand.Read(id[:])
	identity.Cluster = binary.BigEndian.Uint64(id[:]) | 1
	former := r.cluster()
	r.state.Refound(ID(identity.Cluster), r.self(), o.PeerURLs)
	next := dataDir{fs: d.fs, root: d.root, wal: filepath.Join(d.nextMember(), "wal")}
	if err := next.writeFounded(identity, r.state.Snapshot(), r.raft.HardState.Term, o); err != nil {
		return fmt.Errorf("etcdserver: --force-new-cluster: %w", err)
	}
	if err := d.replaceMember(); err != nil {
		return fmt.Errorf("etcdserver: --force-new-cluster: %w", err)
	}
	logger.forced(r.self(), former, ID(identity.Cluster), r.state.Index)
	return nil
}

// writeFounded fills the directory that is to become member.
func (d dataDir) writeFounded(identity *pb.Identity, state replica.Snapshot, term raft.Term, o Options) error {
	snaps, err := snap.Open(d.fs, filepath.Join(d.nextMember(), "snap"), snap.Options{})
	if err != nil {
		return err
	}
	if err := snaps.SavePaced(snapMeta(state.Head), state.Save, state.Verify); err != nil {
		return err
	}
	meta, err := identity.MarshalVT()
	if err != nil {
		return err
	}
	log, err := wal.Create(d.fs, d.wal, meta, o.walOptions())
	if err != nil {
		return err
	}
	writer := newLogWriter(log, newSpace(o.SegmentBytes), &Observer{})
	hard := raft.HardState{Term: max(term, state.Head.Term), Commit: state.Head.Index}
	_, err = writer.write(context.Background(), []raft.Write{{HardState: &hard}})
	return errors.Join(err, log.Close())
}

// nextMember is where a member directory is made that is to replace the present one.
func (d dataDir) nextMember() string { return filepath.Join(d.root, "member.new") }

// replaceMember puts the new member directory in place. A crash in between is
// mended by finishReplacement.
func (d dataDir) replaceMember() error {
	kept := filepath.Join(d.root, fmt.Sprintf("member.lost-%d", time.Now().UnixNano()))
	if err := d.fs.Rename(d.member(), kept); err != nil {
		return err
	}
	if err := d.fs.SyncDir(d.root); err != nil {
		return err
	}
	return d.finishReplacement()
}

// mend ends a replacement that a crash has cut short: a new directory that was
// not finished is of no use, one that has no old one beside it is to be used.
func (d dataDir) mend() error {
	names, err := d.list(d.root)
	if err != nil || !slices.Contains(names, filepath.Base(d.nextMember())) {
		return err
	}
	if !slices.Contains(names, filepath.Base(d.member())) {
		return d.finishReplacement()
	}
	return d.fs.Rename(d.nextMember(), filepath.Join(d.root, fmt.Sprintf("member.unfinished-%d", time.Now().UnixNano())))
}

// finishReplacement does the second half of replaceMember.
func (d dataDir) finishReplacement() error {
	if err := d.fs.Rename(d.nextMember(), d.member()); err != nil {
		return err
	}
	return d.fs.SyncDir(d.root)
}
