package datadir

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
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

// foundNewCluster makes the data of one member of a lost cluster the beginning of a
// new one: its state as a snapshot, an empty log, this member alone,
// under a new cluster id, so that members of the old one cannot mix in (B47).
// The new directory is made beside the old one, which is kept.
func foundNewCluster(d Dir, o Options, file *identityFile) error {
	if d.WAL != d.UsualWAL() {
		return &Error{Dir: d.Root, Reason: "--force-new-cluster needs the log in its usual place, and it is in " + d.WAL,
			Advice: "stop, move it to " + d.UsualWAL() + ", and remove " + d.Identity()}
	}
	r, err := Read(d, o)
	if err != nil {
		return err
	}
	if err := errors.Join(r.applyAll(o.Log), r.Log.Close()); err != nil {
		return err
	}
	if file != nil && file.Forced {
		if len(r.State.Members.Members) <= 1 {
			o.Log.ForcedBefore()
			return nil
		}
		if o.Force != ForceAgain {
			return &Error{Dir: d.Root, Reason: fmt.Sprintf("--force-new-cluster was carried out before, and the cluster has %d members again", len(r.State.Members.Members)),
				Advice: "remove the flag; to remove the others once more, give --force-new-cluster=again"}
		}
	}
	return r.foundAs(d, o)
}

// applyAll applies the whole log. What is not known to be committed may be all the
// same, and acknowledged: the commit index on disk lags behind. The reference
// drops it (B45).
func (r *Recovered) applyAll(logger Logger) error {
	for _, e := range r.Raft.Entries {
		if e.Index <= r.State.Index {
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
	r.State.Store.Publish()
	logger.AppliedAll(r.State.Index, r.Raft.HardState.Commit)
	return nil
}

// foundAs writes the new member directory, and puts it in place of the old.
func (r *Recovered) foundAs(d Dir, o Options) error {
	identity := &pb.Identity{Member: r.Identity.Member, Incarnation: o.NewIncarnation()}
	var id [8]byte
	rand.Read(id[:])
	identity.Cluster = binary.BigEndian.Uint64(id[:]) | 1
	former := r.Cluster()
	r.State.ForceNewCluster(replica.ID(identity.Cluster), r.Self(), o.PeerURLs)
	state := r.State.Snapshot()
	first := First{Meta: SnapMeta(state.Head), Term: r.Raft.HardState.Term, Save: state.Save, Verify: state.Verify}
	if err := Create(d.FS, d.nextMember(), identity, first, o.WAL); err != nil {
		return fmt.Errorf("--force-new-cluster: %w", err)
	}
	if err := d.replaceMember(); err != nil {
		return fmt.Errorf("--force-new-cluster: %w", err)
	}
	o.Log.Forced(r.Self(), former, replica.ID(identity.Cluster), r.State.Index)
	return nil
}

// First is the state with which a member begins.
type First struct {
	Meta   snap.Meta
	Term   raft.Term // the latest that the log knew
	Save   func(io.Writer) error
	Verify func(io.Reader) error // reads back what Save wrote
}

// Create makes a member directory that holds a state and an empty log behind it.
func Create(fs disk.FS, directory string, identity *pb.Identity, state First, o wal.Options) error {
	snaps, err := snap.Open(fs, filepath.Join(directory, "snap"), snap.Options{})
	if err != nil {
		return err
	}
	if err := snaps.SavePaced(state.Meta, state.Save, state.Verify); err != nil {
		return err
	}
	meta, err := identity.MarshalVT()
	if err != nil {
		return err
	}
	log, err := wal.Create(fs, filepath.Join(directory, "wal"), meta, o)
	if err != nil {
		return err
	}
	err = begin(log, nil, raft.HardState{Term: max(state.Term, raft.Term(state.Meta.Term)), Commit: raft.Index(state.Meta.Index)})
	return errors.Join(err, log.Close())
}

// nextMember is where a member directory is made that is to replace the present one.
func (d Dir) nextMember() string { return filepath.Join(d.Root, "member.new") }

// replaceMember puts the new member directory in place. A crash in between is
// mended by finishReplacement.
func (d Dir) replaceMember() error {
	kept := filepath.Join(d.Root, fmt.Sprintf("member.lost-%d", time.Now().UnixNano()))
	if err := d.FS.Rename(d.Member(), kept); err != nil {
		return err
	}
	if err := d.FS.SyncDir(d.Root); err != nil {
		return err
	}
	return d.finishReplacement()
}

// mend ends a replacement that a crash has cut short: a new directory that was
// not finished is of no use, one that has no old one beside it is to be used.
func (d Dir) mend() error {
	names, err := d.List(d.Root)
	if err != nil || !slices.Contains(names, filepath.Base(d.nextMember())) {
		return err
	}
	if !slices.Contains(names, filepath.Base(d.Member())) {
		return d.finishReplacement()
	}
	return d.FS.Rename(d.nextMember(), filepath.Join(d.Root, fmt.Sprintf("member.unfinished-%d", time.Now().UnixNano())))
}

// finishReplacement does the second half of replaceMember.
func (d Dir) finishReplacement() error {
	if err := d.FS.Rename(d.nextMember(), d.Member()); err != nil {
		return err
	}
	return d.FS.SyncDir(d.Root)
}
