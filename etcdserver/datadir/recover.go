package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
	"canopy/store"
	"canopy/wal"
)

// Options say how a data directory is used.
type Options struct {
	WAL            wal.Options
	WALGiven       bool // the place of the log was given, and counts, wherever it was before (B8)
	Store          store.Options
	Begin          func() (Identity, error) // who this member is; asked at the first start only (B10)
	NewIncarnation func() []byte            // tells the lives of one member apart
	PeerURLs       []string                 // of a member that founds a new cluster before it was told its own (B48)
	Force          Force
	Log            Logger
	Unusable       func() // a snapshot cannot be loaded
}

// Identity is who a member is: one of the first members of a new cluster, or one
// that was added to a running cluster, whose log it has yet to learn.
type Identity struct {
	Member, Cluster replica.ID
	First           []replica.MemberInfo // members of a new cluster
	Seeds           []replica.MemberInfo // members of a running one
}

// Logger tells operators what is found and done.
type Logger interface {
	Tightened(dir string)
	Strange(dir string, names []string)
	Recovered(from raft.Index)
	SnapshotPutAside(file string, err error)
	MemberChanged(c *replica.Change, self, cluster replica.ID)
	AppliedAll(last, commit raft.Index)
	ForcedBefore()
	Forced(self, before, now replica.ID, index raft.Index)
}

// Recovered is what a data directory holds, ready to run.
type Recovered struct {
	Identity *pb.Identity
	Log      *wal.Log
	Snaps    *snap.Dir
	State    *replica.State // as of the last entry that is known to be committed
	Bytes    int64          // of the snapshot, before compression
	Raft     raft.State     // of the log
	Fresh    bool           // the first start

	// Of what was applied of the log:
	Growth     Growth         // of the log since the snapshot
	Hashes     replica.Hashes // behind the latest agreed entries
	Generation raft.Index     // where the latest generation of entries in memory begins
	Handed     int64          // bytes of it

	spoiled []spoiled // snapshots that are newer than the one that was loaded
}

// spoiled is a snapshot that cannot be loaded.
type spoiled struct {
	meta snap.Meta
	err  error
}

// Self is this member.
func (r *Recovered) Self() replica.ID { return replica.ID(r.Identity.Member) }

// Cluster is the member's cluster.
func (r *Recovered) Cluster() replica.ID { return replica.ID(r.Identity.Cluster) }

// identityFile is kept beside the log, for people and for a start that does
// not find the log (B8).
type identityFile struct {
	Member  string `json:"member"`
	Cluster string `json:"cluster"`
	WALDir  string `json:"walDir,omitempty"` // if it is not in its usual place
	Forced  bool   `json:"forced,omitempty"` // the cluster was founded by --force-new-cluster
}

const identityMax = 64 << 10 // bytes

// Recover opens what is in the data directory, or begins anew if nothing is there.
// The caller holds the directory's lock.
func Recover(d Dir, o Options) (*Recovered, error) {
	file, err := readIdentity(d)
	if err != nil {
		return nil, err
	}
	if file != nil && file.WALDir != "" && !o.WALGiven {
		d.WAL = file.WALDir
	}
	begun, err := wal.Exists(d.FS, d.WAL)
	if err != nil {
		return nil, &Error{Dir: d.Root, Reason: "cannot look for a log in " + d.WAL, Err: err}
	}
	if !begun {
		if err := refuseLostLog(d, file); err != nil {
			return nil, err
		}
		return create(d, o)
	}
	if o.Force == NoForce {
		return resume(d, o, file)
	}
	if err := foundNewCluster(d, o, file); err != nil {
		return nil, err
	}
	r, err := Read(d, o)
	if err != nil {
		return nil, err
	}
	file = identityFileOf(d, r.Identity)
	file.Forced = true
	return r, writeIdentity(d, file)
}

func readIdentity(d Dir) (*identityFile, error) {
	bytes, err := disk.ReadFile(d.FS, d.Identity(), identityMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{Dir: d.Root, Reason: "cannot read " + d.Identity(), Err: err}
	}
	var file identityFile
	if err := json.Unmarshal(bytes, &file); err != nil {
		return nil, &Error{Dir: d.Root, Reason: d.Identity() + " is damaged", Err: err,
			Advice: "restore it from a backup, or remove this one file if the log is in its usual place"}
	}
	return &file, nil
}

// refuseLostLog makes sure that a member whose log is missing does not begin
// anew under its old identity (B8).
func refuseLostLog(d Dir, file *identityFile) error {
	snapshots, err := d.List(d.Snap())
	if err != nil {
		return err
	}
	if file == nil && len(snapshots) == 0 {
		return nil
	}
	return &Error{
		Dir:    d.Root,
		Reason: "it has been used before, but its log is not in " + d.WAL,
		Advice: "give the right --wal-dir, mount its disk, or restore a backup; to begin anew, choose an empty --data-dir",
	}
}

// create makes the log of a new member. Its first entries add the cluster's
// members; they are committed from the beginning (B23).
func create(d Dir, o Options) (*Recovered, error) {
	who, err := o.Begin()
	if err != nil {
		return nil, err
	}
	identity := &pb.Identity{Member: uint64(who.Member), Cluster: uint64(who.Cluster), Incarnation: o.NewIncarnation()}
	for _, m := range who.Seeds {
		identity.Seeds = append(identity.Seeds, m.Proto())
	}
	log, state, err := createLog(d, o, identity, who.First)
	if err != nil {
		return nil, err
	}
	if err := updateIdentity(d, identity); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	snaps, err := snap.Open(d.FS, d.Snap(), snap.Options{})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &Recovered{
		Identity: identity, Log: log, Snaps: snaps, Fresh: true, Raft: state,
		State: replica.New(replica.ID(identity.Cluster), o.Store),
	}, nil
}

func createLog(d Dir, o Options, identity *pb.Identity, members []replica.MemberInfo) (*wal.Log, raft.State, error) {
	meta, err := identity.MarshalVT()
	if err != nil {
		return nil, raft.State{}, fmt.Errorf("encode the identity: %w", err)
	}
	state, err := firstEntries(members)
	if err != nil {
		return nil, raft.State{}, err
	}
	log, err := wal.Create(d.FS, d.WAL, meta, o.WAL)
	if err != nil {
		return nil, raft.State{}, fmt.Errorf("create the log: %w", err)
	}
	if len(members) == 0 {
		return log, state, nil
	}
	if err := begin(log, state.Entries, state.HardState); err != nil {
		return nil, raft.State{}, errors.Join(err, log.Close())
	}
	return log, state, nil
}

// firstEntries is the log from which all first members of a cluster begin (B23).
func firstEntries(members []replica.MemberInfo) (raft.State, error) {
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

// updateIdentity writes what the log says of itself; what else the
// file has is kept.
func updateIdentity(d Dir, identity *pb.Identity) error {
	file := identityFileOf(d, identity)
	before, err := readIdentity(d)
	if err == nil && before != nil && before.Cluster == file.Cluster {
		file.Forced = before.Forced
	}
	return writeIdentity(d, file)
}

func identityFileOf(d Dir, identity *pb.Identity) *identityFile {
	file := &identityFile{Member: replica.ID(identity.Member).String(), Cluster: replica.ID(identity.Cluster).String()}
	if d.WAL != d.UsualWAL() {
		file.WALDir = d.WAL // a directory that is copied or moved as a whole must not go on with the log of the old one
	}
	return file
}

// Describe writes the identity file of a member directory that is not in its place yet.
func Describe(d Dir, directory string, identity *pb.Identity) error {
	d.WAL = d.UsualWAL()
	return describe(d, filepath.Join(directory, filepath.Base(d.Identity())), identityFileOf(d, identity))
}

func writeIdentity(d Dir, file *identityFile) error {
	return describe(d, d.Identity(), file)
}

func describe(d Dir, name string, file *identityFile) error {
	bytes, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the identity: %w", err)
	}
	if err := disk.WriteFile(d.FS, name, append(bytes, '\n')); err != nil {
		return &Error{Dir: d.Root, Reason: "cannot write " + name, Err: err}
	}
	return nil
}

// Read finds the newest whole snapshot that the log reaches, and the log
// since then (B11).
func Read(d Dir, o Options) (*Recovered, error) {
	r := &Recovered{Identity: &pb.Identity{}}
	if err := r.openLog(d, o); err != nil {
		return nil, err
	}
	if err := r.load(d, o); err != nil {
		return nil, errors.Join(err, r.Log.Close())
	}
	return r, nil
}

func (r *Recovered) openLog(d Dir, o Options) error {
	log, meta, err := wal.Open(d.FS, d.WAL, o.WAL)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	log.Frugal(true) // whether a spare segment leaves room for a snapshot is known when the log writer runs
	if err := r.Identity.UnmarshalVT(meta); err != nil {
		err = &Error{Dir: d.Root, Reason: "the identity at the head of the log cannot be read", Err: err}
		return errors.Join(err, log.Close())
	}
	r.Log = log
	return nil
}

// load reads the log beside the snapshot, and applies it: from the newest
// snapshot on, and from another one if that is no good.
func (r *Recovered) load(d Dir, o Options) (err error) {
	if r.Snaps, err = snap.Open(d.FS, d.Snap(), snap.Options{}); err != nil {
		return fmt.Errorf("open the snapshots: %w", err)
	}
	metas, err := r.Snaps.List()
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	var newest snap.Meta
	if len(metas) > 0 {
		newest = metas[0]
	}
	log := r.beginReplay(newest)
	defer func() { log.stop() }()
	if err := r.loadSnapshot(d, o, metas); err != nil {
		return err
	}
	if loaded := SnapMeta(&r.State.Head); loaded != newest {
		log.stop()
		if err := r.Log.Close(); err != nil {
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
	if err := r.putAside(o); err != nil {
		return err
	}
	if err := updateIdentity(d, r.Identity); err != nil && !errors.Is(err, disk.ErrNoSpace) {
		return err
	}
	return nil
}

// reseed is what an operator can do when acknowledged data is gone from a disk.
const reseed = "nothing was changed; restore this directory from a backup, or, in a cluster, remove this member and add it again with an empty --data-dir"

// refuse says why the log cannot be used, and which snapshots could not be, which
// it would have to make up for. They stay where they are: another version may
// load them.
func (r *Recovered) refuse(d Dir, err error) error {
	for _, each := range r.spoiled {
		err = errors.Join(err, fmt.Errorf("snapshot %s: %w", r.Snaps.Path(each.meta), each.err))
	}
	return &Error{Dir: d.Root, Reason: "the log cannot be used", Err: err, Advice: reseed}
}

// putAside puts aside the snapshots that could not be loaded. An older one, and
// the log since then, have made up for them.
func (r *Recovered) putAside(o Options) error {
	for _, each := range r.spoiled {
		if err := r.Snaps.Quarantine(each.meta); err != nil {
			return fmt.Errorf("put the snapshot at index %d aside: %w", each.meta.Index, err)
		}
		o.Log.SnapshotPutAside(r.Snaps.Path(each.meta), each.err)
		o.Unusable()
	}
	return nil
}

// loadSnapshot tries snapshots from the newest on, and records which cannot be
// loaded. Without one the state is that of the beginning.
func (r *Recovered) loadSnapshot(d Dir, o Options, metas []snap.Meta) error {
	for _, meta := range metas {
		err := r.Snaps.Load(meta, func(src io.Reader) error { return r.take(d, src, meta, o) })
		switch {
		case err == nil:
			o.Log.Recovered(r.State.Index)
			return nil
		case !isSpoiled(err):
			return fmt.Errorf("load the snapshot at index %d: %w", meta.Index, err)
		}
		r.spoiled = append(r.spoiled, spoiled{meta, err})
	}
	r.State = replica.New(r.Cluster(), o.Store)
	return nil
}

func (r *Recovered) take(d Dir, src io.Reader, meta snap.Meta, o Options) error {
	state, length, err := replica.Load(src, r.Cluster(), o.Store)
	if other := (*replica.OtherClusterError)(nil); errors.As(err, &other) {
		return &Error{Dir: d.Root, Reason: fmt.Sprintf("the log is of cluster %v, but the snapshot at index %d of cluster %v", other.Own, meta.Index, other.Other),
			Advice: "one of them was copied here from elsewhere; " + reseed}
	}
	if err != nil {
		return Unusable(err)
	}
	if SnapMeta(&state.Head) != meta {
		return Unusable(fmt.Errorf("the snapshot named %d-%d holds index %d of term %d", meta.Term, meta.Index, state.Index, state.Term))
	}
	r.State, r.Bytes = state, length
	return nil
}

// follow takes over the log that follows the state, and applies what is known to be committed.
func (r *Recovered) follow(log *replay, o Options) error {
	kept := &keptEntries{base: r.State.RaftMeta(), middle: r.State.RaftMeta()}
	if err := log.apply(r, kept, o.Log); err != nil {
		return err
	}
	t := log.tail
	last := r.State.Index + raft.Index(len(t.entries))
	if t.hard.Commit > last {
		return fmt.Errorf("entries up to %d were committed, but the log ends at %d", t.hard.Commit, last)
	}
	if t.detached {
		if err := r.attach(); err != nil {
			return err
		}
	}
	r.Raft = raft.State{
		Snapshot: kept.base, HardState: t.hard, Applied: r.State.Index,
		Entries: slices.Concat(kept.older.entries, kept.newer.entries, t.entries),
	}
	hard := &r.Raft.HardState
	hard.Commit = max(hard.Commit, r.State.Index)
	if hard.Term < r.State.Term {
		hard.Term, hard.Vote = r.State.Term, 0
	}
	r.Generation, r.Handed = kept.middle.Index, kept.bytes
	return nil
}

// apply runs an entry of the log.
func (r *Recovered) apply(e raft.Entry, c *replica.Content, logger Logger) error {
	effect, err := r.State.Apply(e, c)
	if err != nil {
		return err
	}
	r.Growth.Add(len(e.Data))
	if effect.Change != nil {
		logger.MemberChanged(effect.Change, r.Self(), r.Cluster())
	}
	if !effect.Agreed {
		return nil
	}
	hash, err := r.State.Hash()
	r.Hashes = r.Hashes.With(replica.StateHash{Index: r.State.Index, Hash: hash})
	return err
}

// EntryOverhead is what an entry takes in the log beside its data, roughly.
const EntryOverhead = 40

// Growth is what the log has grown by.
type Growth struct {
	Entries uint64
	Bytes   int64
}

// Add counts an entry with so much data.
func (g *Growth) Add(data int) {
	g.Entries++
	g.Bytes += int64(data) + EntryOverhead
}

// SnapMeta is a state as snapshots are named.
func SnapMeta(h *replica.Head) snap.Meta {
	return snap.Meta{Term: uint64(h.Term), Index: uint64(h.Index)}
}

// attach writes the mark that was lost: what is written from here on goes on
// from the snapshot, and not from the log before.
func (r *Recovered) attach() error {
	mark := pb.SnapshotMark{Term: uint64(r.State.Term)}
	payload, err := mark.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the mark of snapshot %d: %w", r.State.Index, err)
	}
	if err := r.Log.Append(wal.Record{Kind: SnapshotRecord, Index: uint64(r.State.Index), Payload: payload}); err != nil {
		return err
	}
	if err := r.Log.Sync(); err != nil {
		return fmt.Errorf("write the mark of snapshot %d: %w", r.State.Index, err)
	}
	return nil
}
