// Package config turns flags and environment variables into one value.
//
//	argv ─┐                ┌─ Config      everything a member needs, checked, never changed again
//	      ├─ Parse ── Invocation ─ Action  serve, show help, show the version, check the configuration
//	environ ┘              └─ Notes       what the log should say about flags and variables
//
// Parse uses its arguments and nothing else: no file, clock, network or global. It never prints and never exits. Its error is
// an *Error that has all faults, not just the first, and the exit status.
// Nothing else in the program reads flags or the environment (F60).
//
// One table (table.go and the files named after its groups) describes each flag once: name, type, range, help text. The
// parser, the variables, --help, --check-config and the tables in docs/configuration.md all come from it.
//
// Parse checks what depends on the flags alone. Config.Bootstrap checks what matters only for the first start of a data directory
// (the initial cluster, discovery), because a restart ignores those flags (B10).
package config

import (
	"path/filepath"
	"time"

	"canopy/config/value"
)

// Config is the checked configuration of one member. It is passed by value; its slices are shared and must not be changed.
type Config struct {
	Name    string // human-readable name, never empty, no control characters; default "default"
	DataDir string // the directory of all data; default "<name>.etcd" in the working directory
	WALDir  string // a dedicated directory for the log, or "" for none; LogDir gives the effective one (B8)

	ListenPeerURLs      value.URLs // where peers connect; IPs or localhost (F23)
	ListenClientURLs    value.URLs // where clients connect; IPs or localhost (F23)
	ListenMetricsURLs   value.URLs // extra listeners that serve /metrics and /health only; may be empty (F53)
	AdvertisePeerURLs   value.URLs // what other members are told; used at the first start only (F28)
	AdvertiseClientURLs value.URLs // what clients are told; published at every start (F24)

	Discovery Discovery // how the first members are found, at the first start only

	Raft    Raft
	Storage Storage
	Watch   Watch
	HTTP    HTTP
	Log     Log
	Proxy   Proxy

	ClientTLS TLS      // of the client and metrics ports
	PeerTLS   TLS      // between members; a proxy uses it towards members (T41)
	Protocol  Protocol // of both

	RuntimeTuning string // "auto": adjust Go's runtime and the timers to the load, "off": leave them alone; default "auto"

	ForcePeerURLs map[string]value.URLs // where members are dialled, by name or id, until the list of members has these URLs; none: as the list says

	AuthRecovery bool // disable users once this member serves, for a lost password of root; default false

	Force string // make a new cluster from the data in the directory (B45): "", "once" or "again"

	bootstrap bootstrapFlags
	proxying  bool // it begins as a proxy, by its flags or its data directory
	settings  []Setting
}

// Raft has the timing and the options of elections and membership.
type Raft struct {
	Heartbeat           time.Duration // time between heartbeats, one tick; default 100 ms, more than 0
	Election            time.Duration // time without a leader after which a follower stands for election; default 1 s, 5 heartbeats to 50 s (F26)
	PreVote             bool          // ask before standing for election; default true (F45)
	AdvanceTicks        bool          // stand for election sooner after a start; default true (F34, F47)
	StrictReconfigCheck bool          // refuse membership changes that would cost the quorum; default true (F46)
	AutoPromote         bool          // a new member becomes a voter by itself once it has caught up; default true
	Rejoin              bool          // a member whose data is gone joins again, under a new ID; default false
	SnapshotRate        int64         // bytes a second that a snapshot on its way to another member may take; default 0: unlimited
}

// Storage bounds what is kept on disk.
type Storage struct {
	SnapshotCount   uint64 // entries applied between snapshots; default 10000, at least 1
	MaxSnapshots    int    // snapshot files kept; default 5, 0 keeps all
	MaxWALs         int    // log segments kept; default 5, 0 keeps all
	WALSegmentBytes int64  // size at which a log segment is cut; default 16 MiB, 64 KiB to 1 GiB
	UnsafeNoFsync   bool   // acknowledge writes that are not on disk; default false (F56)
}

// Watch bounds the event history and watches.
type Watch struct {
	HistoryEvents int   // events kept for waitIndex; default 100000, at least 1
	HistoryBytes  int64 // bytes of events kept; default 64 MiB, at least 64 KiB
	Queue         int   // events a watcher may lag before it is fed from the history; default 128, at least 1
	Max           int   // watches open at once; default 100000, at least 1
}

// HTTP bounds and switches the client-facing server. A limit of 0 means that only the limits that are built in hold.
type HTTP struct {
	CORS            []string         // origins allowed to read answers, sorted; {"*"} = all, empty = none (S43)
	Hosts           value.HostPolicy // which Host headers are served (F51)
	MemoryBudget    int64            // memory that clients may occupy; default 0: a share of the memory of the process or machine
	MaxHeaderBytes  int              // request line and headers; default 64 KiB (K19)
	MaxRequestBytes int64            // body; default 0: the 10 MiB of forms (K14, F52)
	MaxValueBytes   int64            // one value; default 0
	MaxKeyDepth     int              // components of a key that is written or watched; default 512, 0: only the store's own limit of 16384 holds (K25)
	MaxKeyBytes     int              // bytes of such a key; default 8 KiB, 0: no limit (K25)
	MaxPerClient    int              // connections of one client to each port; default 0: it leaves some to the others
	HeaderTimeout   time.Duration    // for a request's line and headers to arrive; default 10 s
	BodyTimeout     time.Duration    // for a request's body to arrive; default 60 s; never cuts an answer or a watch
	IdleTimeout     time.Duration    // a kept-alive connection without a request; default 5 min
	StartupGrace    time.Duration    // after a start, while requests wait until they can be served; default 5 s; 0: they do not
	HTTP2           bool             // cleartext HTTP/2 beside HTTP/1.1; default true
	AccessLog       bool             // a line for every request when it is done; default false (S38)
	AuditLog        string           // file of the audit log, "-" for standard output; default "": none
	AuditReads      bool             // reads are audited, too; default false
	CertLogin       bool             // a client certificate stands for the user of its common name; default false
	BcryptCost      int              // work of hashing a password, as a power of two; default 10, 4 to 31 (F57)
	Pprof           bool             // serve /debug/pprof on the client port; default false (S36)
}

// Log says what is logged, how, and where to.
type Log struct {
	Level   string   // "debug", "info", "warn", "error", "fatal" or "panic"; default "info"
	Format  string   // "text" or "json"; default "text"
	Outputs []string // "stderr", "stdout" or file names; default {"stderr"}

	PackageLevels string // package=LEVEL, with commas (S41)
}

// MemberDir is the part of the data directory that is this member's.
func (c Config) MemberDir() string { return filepath.Join(c.DataDir, "member") }

// SnapDir is where snapshots are kept.
func (c Config) SnapDir() string { return filepath.Join(c.MemberDir(), "snap") }

// LogDir is where log segments are kept: WALDir if there is one, else below MemberDir (B8).
func (c Config) LogDir() string {
	if c.WALDir != "" {
		return c.WALDir
	}
	return filepath.Join(c.MemberDir(), "wal")
}

// IsProxy tells whether a start is that of a proxy (B6). A member whose discovered cluster is full becomes one later.
func (c Config) IsProxy() bool { return c.proxying }

// IsTuned tells whether the runtime is to be adjusted to the load.
func (c Config) IsTuned() bool { return c.RuntimeTuning != "off" }

// GivenPeerURLs are the advertised peer URLs, if the flag was given. They have no effect once the cluster knows the
// member (M24).
func (c Config) GivenPeerURLs() []string {
	if !c.Source("initial-advertise-peer-urls").IsSet() {
		return nil
	}
	return c.AdvertisePeerURLs.Strings()
}

// ForcedPeerURLs is ForcePeerURLs as text.
func (c Config) ForcedPeerURLs() map[string][]string {
	forced := map[string][]string{}
	for name, urls := range c.ForcePeerURLs {
		forced[name] = urls.Strings()
	}
	return forced
}
