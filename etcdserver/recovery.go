package etcdserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
	"canopy/wal"
)

// recovered is what a data directory holds, ready to run.
type recovered struct {
	identity *pb.Identity
	log      *wal.Log
	snaps    *snap.Dir
	state    *replica.State // as of the last entry that is known to be committed
	bytes    int64          // of the snapshot, before compression
	raft     raft.State     // of the log
	fresh    bool           // the first start
	spoiled  []spoiled      // snapshots that are newer than the one that was loaded

	// Of what was applied of the log:
	growth     growth      // of the log since the snapshot
	hashes     []stateHash // behind the latest agreed entries
	generation raft.Index  // where the latest generation of entries in memory begins
	handed     int64       // bytes of it
}

// spoiled is a snapshot that cannot be loaded.
type spoiled struct {
	meta snap.Meta
	err  error
}

func (r *recovered) self() ID    { return ID(r.identity.Member) }
func (r *recovered) cluster() ID { return ID(r.identity.Cluster) }

// identityNote is kept beside the log, for people and for a start that does
// not find the log (B8).
type identityNote struct {
	Member  string `json:"member"`
	Cluster string `json:"cluster"`
	WALDir  string `json:"walDir,omitempty"` // if it is not in its usual place
	Forced  bool   `json:"forced,omitempty"` // the cluster was founded by --force-new-cluster
}

const identityNoteMax = 64 << 10 // bytes

// recoverMember opens what is in the data directory, or begins anew if nothing
// is there. The caller holds the directory's lock.
func recoverMember(d dataDir, o Options, logger memberLog) (*recovered, error) {
	note, err := readIdentityNote(d)
	if err != nil {
		return nil, err
	}
	if note != nil && note.WALDir != "" && o.WALDir == "" {
		d.wal = note.WALDir
	}
	begun, err := wal.Exists(d.fs, d.wal)
	if err != nil {
		return nil, &DataDirError{Dir: d.root, Reason: "cannot look for a log in " + d.wal, Err: err}
	}
	if !begun {
		if err := refuseLostLog(d, note); err != nil {
			return nil, err
		}
		return create(d, o)
	}
	if o.Force == NoForce {
		return resume(d, o, note, logger)
	}
	if err := refound(d, o, note, logger); err != nil {
		return nil, err
	}
	r, err := reopen(d, o, logger)
	if err != nil {
		return nil, err
	}
	note = noteOf(d, r.identity)
	note.Forced = true
	return r, writeNote(d, note)
}

func readIdentityNote(d dataDir) (*identityNote, error) {
	bytes, err := disk.ReadFile(d.fs, d.identity(), identityNoteMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &DataDirError{Dir: d.root, Reason: "cannot read " + d.identity(), Err: err}
	}
	var note identityNote
	if err := json.Unmarshal(bytes, &note); err != nil {
		return nil, &DataDirError{Dir: d.root, Reason: d.identity() + " is damaged", Err: err,
			Advice: "restore it from a backup, or remove this one file if the log is in its usual place"}
	}
	return &note, nil
}

// refuseLostLog makes sure that a member whose log is missing does not begin
// anew under its old identity (B8).
func refuseLostLog(d dataDir, note *identityNote) error {
	snapshots, err := d.list(d.snap())
	if err != nil {
		return err
	}
	if note == nil && len(snapshots) == 0 {
		return nil
	}
	return &DataDirError{
		Dir:    d.root,
		Reason: "it has been used before, but its log is not in " + d.wal,
		Advice: "give the right --wal-dir, mount its disk, or restore a backup; to begin anew, choose an empty --data-dir",
	}
}

// create makes the log of a new member. Its first entries add the cluster's
// members; they are committed from the beginning (B23).
func create(d dataDir, o Options) (*recovered, error) {
	identity, members, err := newIdentity(o)
	if err != nil {
		return nil, err
	}
	log, state, err := createLog(d, o, identity, members)
	if err != nil {
		return nil, err
	}
	if err := writeIdentityNote(d, identity); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	snaps, err := snap.Open(d.fs, d.snap(), snap.Options{})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &recovered{
		identity: identity, log: log, snaps: snaps, fresh: true, raft: state,
		state: replica.New(ID(identity.Cluster), o.Store),
	}, nil
}

// newIdentity decides who this member is: one of the first members of a new
// cluster, who are returned, or one that was added to a running cluster, whose
// log it has yet to learn.
func newIdentity(o Options) (*pb.Identity, []MemberInfo, error) {
	bootstrap, err := o.Bootstrap()
	if err != nil {
		return nil, nil, err
	}
	identity := &pb.Identity{Incarnation: o.newIncarnation()}
	if joined := bootstrap.Joined; joined != nil {
		identity.Member, identity.Cluster = uint64(joined.Self), uint64(joined.Cluster)
		for _, m := range joined.Members {
			identity.Seeds = append(identity.Seeds, m.Proto())
		}
		return identity, nil, nil
	}
	members, self, err := firstMembers(o, bootstrap)
	if err != nil {
		return nil, nil, err
	}
	var ids []ID
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	identity.Member, identity.Cluster = uint64(self), uint64(ClusterIDOf(ids))
	return identity, members, nil
}

// firstMembers derives the members of a new cluster from its configuration.
func firstMembers(o Options, bootstrap Bootstrap) ([]MemberInfo, ID, error) {
	var members []MemberInfo
	var self ID
	for name, urls := range bootstrap.Cluster {
		m := MemberInfo{ID: MemberIDOf(urls, bootstrap.Token), PeerURLs: slices.Sorted(slices.Values(urls))}
		if id, given := bootstrap.IDs[name]; given {
			m.ID = id
		}
		if name == o.Name {
			self = m.ID
		}
		members = append(members, m)
	}
	if self == 0 {
		return nil, 0, fmt.Errorf("couldn't find local name %q in the initial cluster configuration", o.Name)
	}
	slices.SortFunc(members, func(a, b MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
	for i := 1; i < len(members); i++ {
		if members[i].ID == members[i-1].ID {
			return nil, 0, fmt.Errorf("member exists with identical ID %v: the peer URLs %v and %v come to the same one; give one of the two members another URL, or the cluster another --initial-cluster-token",
				members[i].ID, members[i-1].PeerURLs, members[i].PeerURLs)
		}
	}
	return members, self, nil
}

func createLog(d dataDir, o Options, identity *pb.Identity, members []MemberInfo) (*wal.Log, raft.State, error) {
	meta, err := identity.MarshalVT()
	if err != nil {
		return nil, raft.State{}, fmt.Errorf("encode the identity: %w", err)
	}
	state, err := firstEntries(members)
	if err != nil {
		return nil, raft.State{}, err
	}
	log, err := wal.Create(d.fs, d.wal, meta, o.walOptions())
	if err != nil {
		return nil, raft.State{}, fmt.Errorf("create the log: %w", err)
	}
	if len(members) == 0 {
		return log, state, nil
	}
	writer := newLogWriter(log, newSpace(o.SegmentBytes), &Observer{})
	if _, err := writer.write(context.Background(), []raft.Write{{HardState: &state.HardState, Entries: state.Entries}}); err != nil {
		return nil, raft.State{}, errors.Join(err, log.Close())
	}
	return log, state, nil
}

// firstEntries is the log from which all first members of a cluster begin (B23).
func firstEntries(members []MemberInfo) (raft.State, error) {
	if len(members) == 0 {
		return raft.State{}, nil
	}
	var changes []raft.ConfChange
	for _, m := range members {
		context, err := (&pb.Change{Member: m.Proto()}).MarshalVT()
		if err != nil {
			return raft.State{}, fmt.Errorf("encode a member: %w", err)
		}
		changes = append(changes, raft.ConfChange{Op: raft.AddVoter, Member: m.ID.Raft(), Context: context})
	}
	return raft.Bootstrap(changes...)
}

// writeIdentityNote writes what the log says of itself; what else stands in the
// note is kept.
func writeIdentityNote(d dataDir, identity *pb.Identity) error {
	note := noteOf(d, identity)
	before, err := readIdentityNote(d)
	if err == nil && before != nil && before.Cluster == note.Cluster {
		note.Forced = before.Forced
	}
	return writeNote(d, note)
}

func noteOf(d dataDir, identity *pb.Identity) *identityNote {
	note := &identityNote{Member: ID(identity.Member).String(), Cluster: ID(identity.Cluster).String()}
	if d.wal != d.usualWAL() {
		note.WALDir = d.wal // a directory that is copied or moved as a whole must not go on with the log of the old one
	}
	return note
}

func writeNote(d dataDir, note *identityNote) error {
	bytes, err := json.MarshalIndent(note, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the identity: %w", err)
	}
	if err := disk.WriteFile(d.fs, d.identity(), append(bytes, '\n')); err != nil {
		return &DataDirError{Dir: d.root, Reason: "cannot write " + d.identity(), Err: err}
	}
	return nil
}

// reopen finds the newest whole snapshot that the log reaches, and the log
// since then (B11).
func reopen(d dataDir, o Options, logger memberLog) (*recovered, error) {
	r := &recovered{identity: &pb.Identity{}}
	if err := r.openLog(d, o); err != nil {
		return nil, err
	}
	if err := r.load(d, o, logger); err != nil {
		return nil, errors.Join(err, r.log.Close())
	}
	return r, nil
}

func (r *recovered) openLog(d dataDir, o Options) error {
	log, meta, err := wal.Open(d.fs, d.wal, o.walOptions())
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	log.Frugal(true) // whether a spare segment leaves room for a snapshot is known when the log writer runs
	if err := r.identity.UnmarshalVT(meta); err != nil {
		err = &DataDirError{Dir: d.root, Reason: "the identity at the head of the log cannot be read", Err: err}
		return errors.Join(err, log.Close())
	}
	r.log = log
	return nil
}

// load reads the log beside the snapshot, and applies it: from the newest
// snapshot on, and from another one if that is no good.
func (r *recovered) load(d dataDir, o Options, logger memberLog) (err error) {
	if r.snaps, err = snap.Open(d.fs, d.snap(), snap.Options{}); err != nil {
		return fmt.Errorf("open the snapshots: %w", err)
	}
	metas, err := r.snaps.List()
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	var newest snap.Meta
	if len(metas) > 0 {
		newest = metas[0]
	}
	log := r.beginReplay(newest)
	defer func() { log.stop() }()
	if err := r.loadSnapshot(d, o, metas, logger); err != nil {
		return err
	}
	if loaded := snapMeta(&r.state.Head); loaded != newest {
		log.stop()
		if err := r.log.Close(); err != nil {
			return fmt.Errorf("close the log: %w", err)
		}
		if err := r.openLog(d, o); err != nil {
			return err
		}
		log = r.beginReplay(loaded)
	}
	if err := r.follow(log, o); err != nil {
		return r.refuse(d, err)
	}
	if err := r.putAside(o, logger); err != nil {
		return err
	}
	if err := writeIdentityNote(d, r.identity); err != nil && !errors.Is(err, disk.ErrNoSpace) {
		return err
	}
	return nil
}

// reseed is what an operator can do when acknowledged data is gone from a disk.
const reseed = "nothing was changed; restore this directory from a backup, or, in a cluster, remove this member and add it again with an empty --data-dir"

// refuse says why the log cannot be used, and which snapshots could not be, which
// it would have to make up for. They stay where they are: another version may
// load them.
func (r *recovered) refuse(d dataDir, err error) error {
	for _, each := range r.spoiled {
		err = errors.Join(err, fmt.Errorf("snapshot %s: %w", r.snaps.Path(each.meta), each.err))
	}
	return &DataDirError{Dir: d.root, Reason: "the log cannot be used", Err: err, Advice: reseed}
}

// putAside puts aside the snapshots that could not be loaded. An older one, and
// the log since then, have made up for them.
func (r *recovered) putAside(o Options, logger memberLog) error {
	for _, each := range r.spoiled {
		if err := r.snaps.Quarantine(each.meta); err != nil {
			return fmt.Errorf("put the snapshot at index %d aside: %w", each.meta.Index, err)
		}
		logger.quarantined(r.snaps.Path(each.meta), each.err)
		o.Observer.snapshotUnusable()
	}
	return nil
}

// loadSnapshot tries snapshots from the newest on, and notes which cannot be
// loaded. Without one the state is that of the beginning.
func (r *recovered) loadSnapshot(d dataDir, o Options, metas []snap.Meta, logger memberLog) error {
	for _, meta := range metas {
		err := r.snaps.Load(meta, func(src io.Reader) error { return r.take(d, src, meta, o) })
		switch {
		case err == nil:
			logger.recovered(r.state.Index)
			return nil
		case !isSpoiled(err):
			return fmt.Errorf("load the snapshot at index %d: %w", meta.Index, err)
		}
		r.spoiled = append(r.spoiled, spoiled{meta, err})
	}
	r.state = replica.New(r.cluster(), o.Store)
	return nil
}

func (r *recovered) take(d dataDir, src io.Reader, meta snap.Meta, o Options) error {
	state, length, err := replica.Load(src, r.cluster(), o.Store)
	if other := (*replica.OtherClusterError)(nil); errors.As(err, &other) {
		return &DataDirError{Dir: d.root, Reason: fmt.Sprintf("the log is of cluster %v, but the snapshot at index %d of cluster %v", other.Own, meta.Index, other.Other),
			Advice: "one of them was copied here from elsewhere; " + reseed}
	}
	if err != nil {
		return unusable(err)
	}
	if snapMeta(&state.Head) != meta {
		return unusable(fmt.Errorf("the snapshot named %d-%d holds index %d of term %d", meta.Term, meta.Index, state.Index, state.Term))
	}
	r.state, r.bytes = state, length
	return nil
}

// follow takes over the log that follows the state, and applies what is known to be committed.
func (r *recovered) follow(log *replay, o Options) error {
	kept := &keptEntries{base: raftMeta(&r.state.Head), middle: raftMeta(&r.state.Head)}
	if err := log.apply(r, kept, newMemberLog(o.Log, r.self(), r.cluster(), nil)); err != nil {
		return err
	}
	t := log.tail
	last := r.state.Index + raft.Index(len(t.entries))
	if t.hard.Commit > last {
		return fmt.Errorf("entries up to %d were committed, but the log ends at %d", t.hard.Commit, last)
	}
	if t.detached {
		if err := r.attach(); err != nil {
			return err
		}
	}
	r.raft = raft.State{
		Snapshot: kept.base, HardState: t.hard, Applied: r.state.Index,
		Entries: slices.Concat(kept.older.entries, kept.newer.entries, t.entries),
	}
	hard := &r.raft.HardState
	hard.Commit = max(hard.Commit, r.state.Index)
	if hard.Term < r.state.Term {
		hard.Term, hard.Vote = r.state.Term, 0
	}
	r.generation, r.handed = kept.middle.Index, kept.bytes
	return nil
}

// apply runs an entry of the log.
func (r *recovered) apply(e raft.Entry, c *replica.Content, logger memberLog) error {
	effect, err := r.state.Apply(e, c)
	if err != nil {
		return err
	}
	r.growth.grown(len(e.Data))
	if effect.Change != nil {
		logger.memberChanged(effect.Change, r.self(), r.cluster())
	}
	if !effect.Agreed {
		return nil
	}
	hash, err := r.state.Hash()
	r.hashes = remembered(r.hashes, stateHash{r.state.Index, hash})
	return err
}

// attach writes the mark that was lost: what is written from here on goes on
// from the snapshot, and not from the log before.
func (r *recovered) attach() error {
	mark := pb.SnapshotMark{Term: uint64(r.state.Term)}
	payload, err := mark.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the mark of snapshot %d: %w", r.state.Index, err)
	}
	if err := r.log.Append(wal.Record{Kind: recordSnapshot, Index: uint64(r.state.Index), Payload: payload}); err != nil {
		return err
	}
	if err := r.log.Sync(); err != nil {
		return fmt.Errorf("write the mark of snapshot %d: %w", r.state.Index, err)
	}
	return nil
}
