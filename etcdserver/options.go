package etcdserver

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/firststart"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/raftloop"
	"canopy/internal/disk"
	"canopy/rafthttp"
	"canopy/store"
	"canopy/wal"
)

// Options say what a member is. Zero fields have the defaults of flags.md,
// except those without which there is no member.
type Options struct {
	FS      disk.FS // the file system; required
	DataDir string  // required
	WALDir  string  // "": member/wal in the data directory, or where it was before (B8)

	Name       string    // required
	PeerURLs   []string  // as the others reach it; what counts is what the cluster knows
	SamePeers  SamePeers // compares PeerURLs with what the cluster knows; nil: as text
	ClientURLs []string  // published to the cluster

	// ForcePeerURLs are where members are dialled, by name or id, until the list of members has these URLs.
	ForcePeerURLs map[string][]string

	Bootstrap func() (Bootstrap, error) // asked at the first start only (B10); required

	// Transport makes what carries messages to other members, and brings theirs to the owner; required.
	Transport    func(self rafthttp.Identity, owner rafthttp.Owner) Transport
	AutoPromote  bool // a learner that has caught up becomes a voter by itself
	Strict       bool // membership changes that endanger the quorum are refused; else warned about
	Force        Force
	AuthRecovery bool          // users are disabled once the member serves: the password of root is lost
	CheckEvery   time.Duration // between comparisons of the members' states; default 10 s

	Heartbeat time.Duration // one tick of raft; default 100 ms
	Election  time.Duration // default 1 s

	SnapshotEntries uint64 // entries between snapshots at least; default 10,000
	MaxSnapshots    int    // files kept; 0: all
	MaxLogs         int    // log segments kept; 0: all
	SegmentBytes    int64  // size of a log segment; default that of wal. The first ones are smaller
	WaitingBytes    int    // of the requests that wait for the log; default 512 MiB, which is the most
	NoSync          bool   // acknowledged writes may be lost in a power cut
	NoPreVote       bool
	EarlyStart      bool            // the election clock is put forward at the start; not with NoPreVote
	queues          raftloop.Limits // for tests

	Store    store.Options
	Now      func() time.Time // the wall clock, read when the member is opened; default time.Now
	Seed     uint64           // of random numbers that are no secret; different at each start of any member; 0: chosen
	Observer Observer
	Log      *logrus.Logger // required
}

// SamePeers tells whether two lists of peer URLs have the same addresses. It may ask DNS until ctx ends. If it cannot find
// out, the answer is yes.
type SamePeers func(ctx context.Context, x, y []string) bool

func (o Options) withDefaults() Options {
	if o.Heartbeat == 0 {
		o.Heartbeat = 100 * time.Millisecond
	}
	if o.Election == 0 {
		o.Election = time.Second
	}
	for o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	if o.CheckEvery == 0 {
		o.CheckEvery = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 16 << 20
	}
	if o.SnapshotEntries == 0 {
		o.SnapshotEntries = 10_000
	}
	if o.WaitingBytes == 0 {
		o.WaitingBytes = pending.BytesMax
	}
	return o
}

// firstSegmentBytes is the size of the log's first segment. The spare one behind it has twice as many bytes.
const firstSegmentBytes = 2 << 20

// Users of random numbers. Each has a source of its own, since each is another goroutine.
const (
	electionRNG = iota
	sessionRNG
	snapshotRNG
	memberRNG
	incarnationRNG
)

func (o Options) rng(user uint64) *rand.Rand { return rand.New(rand.NewPCG(o.Seed, user)) }

// newIncarnation makes a number that tells data directories of one member apart.
func (o Options) newIncarnation() []byte {
	rng := o.rng(incarnationRNG)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, rng.Uint64()), rng.Uint64())
}

// identity decides at a first start who this member is.
func (o Options) identity() (datadir.Identity, error) {
	bootstrap, err := o.Bootstrap()
	if err != nil {
		return datadir.Identity{}, err
	}
	return firststart.Identity(o.Name, bootstrap)
}

// recovery gives the options for recovering a data directory.
func (o Options) recovery(logger memberlog.Log) datadir.Options {
	return datadir.Options{
		WAL: wal.Options{
			SegmentBytes: o.SegmentBytes, FirstSegmentBytes: min(firstSegmentBytes, o.SegmentBytes), NoSync: o.NoSync,
		},
		WALGiven: o.WALDir != "", Store: o.Store,
		Begin: o.identity, NewIncarnation: o.newIncarnation, PeerURLs: o.PeerURLs, Force: o.Force,
		Log: logger, Unusable: o.Observer.snapshotUnusable,
	}
}

// requestTimeout is how long a request may wait for its entry (K121).
func (o Options) requestTimeout() time.Duration { return 5*time.Second + 2*o.Election }

// fit makes segments and history smaller on a small disk, so that most of it is left to the
// state.
func (o Options) fit(total int64) Options {
	if total == math.MaxInt64 {
		return o
	}
	o.SegmentBytes = min(o.SegmentBytes, max(total/smallestSegment, 64<<10))
	if o.Store.HistoryBytes <= 0 {
		o.Store.HistoryBytes = 64 << 20
	}
	o.Store.HistoryBytes = min(o.Store.HistoryBytes, total/smallestHistory)
	return o
}

// The parts of a disk that a segment of the log, and past events, take at most.
const (
	smallestSegment = 16
	smallestHistory = 16
)
