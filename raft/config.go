package raft

// Defaults of Config.
const (
	defaultElectionTicks       = 10
	defaultHeartbeatTicks      = 1
	defaultMaxInflightMessages = 256
	defaultMaxInflightBytes    = 64 << 20
	defaultMaxMessageBytes     = 1 << 20
	defaultMaxUncommittedBytes = 256 << 20
	defaultMaxUnappliedBytes   = 128 << 20
	defaultMaxRetainedBytes    = 512 << 20
	defaultMaxWriteBytes       = 4 << 20
)

// Config is what a machine needs to know of itself. Zero fields mean the default, except ID and Random, which must be given.
type Config struct {
	ID MemberID // this member; not None

	ElectionTicks  int // ticks without a leader before an election; default 10, more than HeartbeatTicks. each time-out is random in [n, 2n)
	HeartbeatTicks int // ticks between heartbeats; default 1

	EarlyStart    bool // the first election begins one tick after the start, or up to ElectionTicks later; without effect with NoPreVote, since only a pre-vote disturbs no leader
	NoPreVote     bool // elections begin without a pre-vote (9.6)
	NoCheckQuorum bool // a leader stays without its quorum (6.2), and followers vote although they hear a leader (4.2.3)

	MaxInflightMessages int   // appends on their way to one follower; default 256
	MaxInflightBytes    int64 // bytes of entries on their way to one follower; default 64 MiB. one message may exceed it
	MaxMessageBytes     int64 // bytes of entries in one append; default 1 MiB. one entry may exceed it
	MaxUncommittedBytes int64 // bytes proposed and not committed, beyond which proposals are refused; default 256 MiB
	MaxUnappliedBytes   int64 // bytes committed and not applied, beyond which no entries are taken, from a leader or a proposal; default 128 MiB
	MaxWriteBytes       int64 // bytes of entries in one write, after which the next begins; default 4 MiB
	MaxRetainedBytes    int64 // bytes of log that Compact spares for members which are being sent a snapshot; default 512 MiB

	Random func(n int) int // gives a number in [0, n), differently on each member
}

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	orDefault(&c.ElectionTicks, defaultElectionTicks)
	orDefault(&c.HeartbeatTicks, defaultHeartbeatTicks)
	orDefault(&c.MaxInflightMessages, defaultMaxInflightMessages)
	orDefault(&c.MaxInflightBytes, defaultMaxInflightBytes)
	orDefault(&c.MaxMessageBytes, defaultMaxMessageBytes)
	orDefault(&c.MaxUncommittedBytes, defaultMaxUncommittedBytes)
	orDefault(&c.MaxUnappliedBytes, defaultMaxUnappliedBytes)
	orDefault(&c.MaxWriteBytes, defaultMaxWriteBytes)
	orDefault(&c.MaxRetainedBytes, defaultMaxRetainedBytes)
	return c
}

// lostTicks is the number of ticks after which entries count as lost if the follower has received none of them. A needless probe is cheap; a
// missing one would delay a transfer of leadership, which must end within an election time-out.
func (c Config) lostTicks() int { return max(c.HeartbeatTicks+1, c.ElectionTicks/2) }

func orDefault[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// check gives the fault of a config, after withDefaults.
func (c Config) check() error {
	switch {
	case c.ID == None:
		return ErrConfig{"ID", "must not be 0"}
	case c.Random == nil:
		return ErrConfig{"Random", "must be given"}
	case c.HeartbeatTicks < 0:
		return ErrConfig{"HeartbeatTicks", "must be positive"}
	case c.ElectionTicks <= c.HeartbeatTicks:
		return ErrConfig{"ElectionTicks", "must be more than HeartbeatTicks"}
	case c.MaxInflightMessages < 0, c.MaxInflightBytes < 0, c.MaxMessageBytes < 0,
		c.MaxUncommittedBytes < 0, c.MaxUnappliedBytes < 0, c.MaxWriteBytes < 0, c.MaxRetainedBytes < 0:
		return ErrConfig{"Max…", "must not be negative"}
	}
	return nil
}
