package config

import (
	"time"

	"canopy/config/value"
)

// Defaults of the URL flags, old ports included (F17).
const (
	defaultPeerURLs   = "http://localhost:2380,http://localhost:7001"
	defaultClientURLs = "http://localhost:2379,http://localhost:4001"
)

// Bounds of the two raft times (F26). The election time is also bound to be five heartbeats at least.
const (
	electionMax  = 50 * time.Second
	heartbeatMax = electionMax / 5
)

func memberRows(d *draft) []row {
	s := &d.Storage
	return []row{
		{name: "name", value: value.Text(&d.Name, "any text without control characters, not empty"), def: "default",
			usage: "Human-readable name of this member."},
		{name: "data-dir", value: value.Text(&d.DataDir, "a directory"),
			usage: "Directory for everything that is kept. Default: `<name>.etcd` in the working directory, with a warning."},
		{name: "wal-dir", value: value.Text(&d.WALDir, "a directory"),
			usage: "Dedicated directory for the log. Default: `member/wal` in the data directory."},
		{name: "listen-peer-urls", value: value.URLList(&d.ListenPeerURLs), def: defaultPeerURLs,
			usage: "Where to listen for other members: IP addresses, localhost, or no host for all interfaces."},
		{name: "listen-client-urls", value: value.URLList(&d.ListenClientURLs), def: defaultClientURLs,
			usage: "Where to listen for clients: IP addresses, localhost, or no host for all interfaces. Needs --advertise-client-urls."},
		{name: "heartbeat-interval", value: value.UncheckedTime(&d.Raft.Heartbeat, time.Millisecond, heartbeatMax), def: "100ms",
			usage: "Time between a leader's heartbeats. The same on all members."},
		{name: "election-timeout", value: value.UncheckedTime(&d.Raft.Election, 5*time.Millisecond, electionMax), def: "1s",
			usage: "Time without a message from the leader after which a follower stands for election; rounded down to whole heartbeats. At least 5 times --heartbeat-interval. The same on all members."},
		{name: "pre-vote", value: value.Bool(&d.Raft.PreVote), def: "true",
			usage: "Ask the others for a pre-vote before an election, so that a member that returns does not disturb the leader."},
		{name: "initial-election-tick-advance", value: value.Bool(&d.Raft.AdvanceTicks), def: "true",
			usage: "Elect the first leader sooner: a member stands for election within one --election-timeout after its start, instead of within one to two. Without effect if --pre-vote is off, since a member that returns could then depose a leader."},
		{name: "snapshot-count", value: value.Count(&s.SnapshotCount, 1, 1e9, "10000"), def: "10000",
			usage: "Entries applied between snapshots, at least."},
		{name: "max-snapshots", value: value.Count(&s.MaxSnapshots, 1, 1e6, "keep all"), def: "5",
			usage: "Snapshot files kept while there is room on the disk; older ones are deleted."},
		{name: "max-wals", value: value.Count(&s.MaxWALs, 1, 1e6, "keep all"), def: "5",
			usage: "Log segments kept while there is room on the disk; older ones are deleted once a snapshot covers them."},
		{name: "wal-segment-bytes", value: value.Size(&s.WALSegmentBytes, 64<<10, 1<<30, ""), def: "16MiB",
			usage: "Size at which a new log segment begins; disk space is reserved in this size. The first segment has 2 MiB, and each further one twice as many until this size is reached. At most a sixteenth of the disk is used."},
		{name: "http2", value: value.Bool(&d.HTTP.HTTP2), def: "true",
			usage: "Serve cleartext HTTP/2 beside HTTP/1.1."},
		{name: "runtime-tuning", value: value.Choice(&d.RuntimeTuning, []string{"auto", "off"}, nil), def: "auto",
			usage: "Adjust GOMAXPROCS, GOGC and the timer slack to the load. GOMAXPROCS and GOGC in the environment win. off: leave all three as Go and the system set them."},
		{name: "enable-v2", value: value.Bool(new(bool)), def: "true", noEffect: "the v2 API is always served",
			usage: "Known to 3.4's unit files."},
	}
}

func clusteringRows(d *draft) []row {
	b, f := &d.bootstrap, &d.Discovery
	return []row{
		{name: "initial-advertise-peer-urls", value: value.URLList(&d.AdvertisePeerURLs), def: defaultPeerURLs,
			usage: "This member's peer URLs, as the others reach it. Must equal those that --initial-cluster lists for it. First start only."},
		{name: "initial-cluster", value: value.Text(&b.initialCluster, "name=http://host:port, several with commas; a name may come several times"),
			usage: "The members of a new cluster. Default: this member alone, `<name>=http://localhost:2380,<name>=http://localhost:7001`. The same list on all members. First start only."},
		{name: "initial-cluster-state", value: value.Choice(&b.state, []string{"new", "existing"}, nil), def: "new",
			usage: "Whether the cluster is new, or is running and this member was added to it. First start only."},
		{name: "initial-cluster-token", value: value.Text(&b.token, "any text"), def: "etcd-cluster",
			usage: "Part of all IDs, so that clusters with the same URLs cannot mix. Use a new one for every new cluster. First start only."},
		{name: "advertise-client-urls", value: value.URLList(&d.AdvertiseClientURLs), def: defaultClientURLs,
			usage: "This member's client URLs, as clients reach it; published at every start. Required with --listen-client-urls."},
		{name: "discovery", value: value.Secret(&f.URL, "a URL"),
			usage: "URL of a token of a discovery service. As many processes as the size of the token find each other there, and become a cluster. Anyone who knows the URL can become a member, so it is a secret. First start only."},
		{name: "discovery-fallback", value: value.Choice(&f.Fallback, []string{"proxy", "exit"}, nil), def: "proxy",
			usage: "What to do when the discovered cluster is full: become a proxy to it, or exit. Every other failure exits. Only with --discovery."},
		{name: "discovery-proxy", value: value.Secret(&f.Proxy, "http://host:port, or host:port"),
			usage: "HTTP proxy on the way to the discovery service. Variables such as HTTP_PROXY are ignored."},
		{name: "discovery-srv", value: value.Text(&f.SRV, "a DNS domain"),
			usage: "Domain whose SRV records list the members, one host name for each. First start only."},
		{name: "discovery-srv-name", value: value.Text(&f.SRVName, "a DNS label"),
			usage: "Suffix of the names of the SRV records: _etcd-server-<name>._tcp."},
		{name: "strict-reconfig-check", value: value.Bool(&d.Raft.StrictReconfigCheck), def: "true",
			usage: "Refuse changes of membership that would cost the quorum."},
		{name: "auto-promote", value: value.Bool(&d.Raft.AutoPromote), def: "true",
			usage: "Whether this member, while it leads, promotes a new member to a voter once it has caught up; until then the new member follows the log without a vote. The flag of the leader decides, so give all members the same. If false, `POST /v2/members/<id>/promote` does it."},
		{name: "rejoin", value: value.Bool(&d.Raft.Rejoin), def: "false",
			usage: "A member that lost its data directory is removed, and joins under a new ID, instead of refusing to start. With --initial-cluster-state=existing only. First start only."},
		{name: "snapshot-rate", value: value.Size(&d.Raft.SnapshotRate, 64<<10, 100<<30, "unlimited"), def: "0",
			usage: "Bytes a second that a snapshot may take on its way to another member."},
	}
}

func unsafeRows(d *draft) []row {
	return []row{
		{name: "unsafe-no-fsync", value: value.Bool(&d.Storage.UnsafeNoFsync), def: "false",
			usage: "Acknowledge writes before they are on disk: a crash of the machine loses them. Every start logs a warning."},
		{name: "force-peer-urls", value: value.Cluster(&d.ForcePeerURLs),
			usage: "New addresses of the members, if all have moved and none can reach another: they are used until the list of members has them. Each member proposes its own, so give the same list to all. Later starts with the same list ignore it."},
		{name: "auth-recovery", value: value.Bool(&d.AuthRecovery), def: "false",
			usage: "Disable users once this member serves, for the whole cluster: for a lost password of root. Everybody may then do everything. Set a password, enable users, and remove the flag, which would disable them again at the next start."},
		{name: "force-new-cluster", value: value.Word(&d.Force, "again"), def: "false",
			usage: "Start a new cluster, with a new ID and this member alone, from the data of one member of a lost cluster. Remove the flag afterwards: once members were added, it is refused, unless its value is `again`."},
	}
}

func commandRows() []row {
	return []row{
		{name: "help", value: value.Bool(new(bool)), def: "false", command: Help, usage: "Show this text; also -h."},
		{name: "version", value: value.Bool(new(bool)), def: "false", command: Version, usage: "Show the version."},
		{name: "check-config", value: value.Word(new(string), "quiet"), def: "false", command: Check,
			usage: "Check flags and variables, and that the data directory can be used or made; show the effective configuration and where each value comes from, and exit: 0 if it is good, 1 if not. `quiet` shows errors and warnings only."},
	}
}
