package config

import "time"

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
		{name: "name", value: textValue{&d.Name, "any text without control characters, not empty"}, def: "default",
			usage: "Human-readable name of this member."},
		{name: "data-dir", value: textValue{&d.DataDir, "a directory"},
			usage: "Directory for everything that is kept. Default: `<name>.etcd` in the working directory, with a warning."},
		{name: "wal-dir", value: textValue{&d.WALDir, "a directory"},
			usage: "Dedicated directory for the log. Default: `member/wal` in the data directory."},
		{name: "listen-peer-urls", value: urlsValue{p: &d.ListenPeerURLs}, def: defaultPeerURLs,
			usage: "Where to listen for other members: IP addresses, localhost, or no host for all interfaces."},
		{name: "listen-client-urls", value: urlsValue{p: &d.ListenClientURLs}, def: defaultClientURLs,
			usage: "Where to listen for clients: IP addresses, localhost, or no host for all interfaces. Needs --advertise-client-urls."},
		{name: "heartbeat-interval", value: timeValue{p: &d.Raft.Heartbeat, min: time.Millisecond, max: heartbeatMax, anyRange: true}, def: "100ms",
			usage: "Time between a leader's heartbeats. The same on all members."},
		{name: "election-timeout", value: timeValue{p: &d.Raft.Election, min: 5 * time.Millisecond, max: electionMax, anyRange: true}, def: "1s",
			usage: "Time without a message from the leader after which a follower stands for election; rounded down to whole heartbeats. At least 5 times --heartbeat-interval. The same on all members."},
		{name: "pre-vote", value: boolValue{&d.Raft.PreVote}, def: "true",
			usage: "Ask the others before standing for election, so that a returning member disturbs nobody."},
		{name: "initial-election-tick-advance", value: boolValue{&d.Raft.AdvanceTicks}, def: "true",
			usage: "Elect the first leader sooner: after its start a member stands for election within one --election-timeout, instead of within one to two. Without effect if --pre-vote is off, since a returning member could depose a leader then."},
		{name: "snapshot-count", value: countValue[uint64]{&s.SnapshotCount, 1, 1e9, "10000"}, def: "10000",
			usage: "Entries applied between snapshots, at least."},
		{name: "max-snapshots", value: countValue[int]{&s.MaxSnapshots, 1, 1e6, "keep all"}, def: "5",
			usage: "Snapshot files kept while there is room on the disk; older ones are deleted."},
		{name: "max-wals", value: countValue[int]{&s.MaxWALs, 1, 1e6, "keep all"}, def: "5",
			usage: "Log segments kept while there is room on the disk; older ones are deleted once a snapshot covers them."},
		{name: "wal-segment-bytes", value: sizeValue[int64]{&s.WALSegmentBytes, 64 << 10, 1 << 30, ""}, def: "16MiB",
			usage: "Size at which a new log segment is started; disk space is reserved in this size. At most a sixteenth of the disk is used."},
		{name: "http2", value: boolValue{&d.HTTP.HTTP2}, def: "true",
			usage: "Serve cleartext HTTP/2 beside HTTP/1.1."},
		{name: "runtime-tuning", value: choiceValue{p: &d.RuntimeTuning, words: []string{"auto", "off"}}, def: "auto",
			usage: "Adjust GOMAXPROCS, GOGC and the timer slack to the load. GOMAXPROCS and GOGC in the environment win. off: leave all three as Go and the system set them."},
		{name: "enable-v2", value: boolValue{new(bool)}, def: "true", noEffect: "the v2 API is always served",
			usage: "Known to 3.4's unit files."},
	}
}

func clusteringRows(d *draft) []row {
	b, f := &d.bootstrap, &d.Discovery
	return []row{
		{name: "initial-advertise-peer-urls", value: urlsValue{p: &d.AdvertisePeerURLs}, def: defaultPeerURLs,
			usage: "This member's peer URLs, as the others reach it. Must equal those that --initial-cluster lists for it. First start only."},
		{name: "initial-cluster", value: textValue{&b.initialCluster, "name=http://host:port, several with commas; a name may come several times"},
			usage: "The members of a new cluster. Default: this member alone, `<name>=http://localhost:2380,<name>=http://localhost:7001`. The same list on all members. First start only."},
		{name: "initial-cluster-state", value: choiceValue{p: &b.state, words: []string{"new", "existing"}}, def: "new",
			usage: "Whether the cluster is new, or is running and this member was added to it. First start only."},
		{name: "initial-cluster-token", value: textValue{&b.token, "any text"}, def: "etcd-cluster",
			usage: "Goes into all IDs, so that clusters with the same URLs cannot mix. Use a new one for every new cluster. First start only."},
		{name: "advertise-client-urls", value: urlsValue{p: &d.AdvertiseClientURLs}, def: defaultClientURLs,
			usage: "This member's client URLs, as clients reach it; published at every start. Required with --listen-client-urls."},
		{name: "discovery", value: secretURLValue{&f.URL, "a URL"},
			usage: "URL of a token of a discovery service, where as many processes as its size says find each other and become a cluster. Whoever knows it can be a member: it is a secret. First start only."},
		{name: "discovery-fallback", value: choiceValue{p: &f.Fallback, words: []string{"proxy", "exit"}}, def: "proxy",
			usage: "What to do when the discovered cluster is full: become a proxy to it, or exit. Every other failure exits. Only with --discovery."},
		{name: "discovery-proxy", value: secretURLValue{&f.Proxy, "http://host:port, or host:port"},
			usage: "HTTP proxy on the way to the discovery service. Variables such as HTTP_PROXY are ignored."},
		{name: "discovery-srv", value: textValue{&f.SRV, "a DNS domain"},
			usage: "Domain whose SRV records list the members, one host name for each. First start only."},
		{name: "discovery-srv-name", value: textValue{&f.SRVName, "a DNS label"},
			usage: "Suffix of the names of the SRV records: _etcd-server-<name>._tcp."},
		{name: "strict-reconfig-check", value: boolValue{&d.Raft.StrictReconfigCheck}, def: "true",
			usage: "Refuse changes of membership that would cost the quorum."},
		{name: "auto-promote", value: boolValue{&d.Raft.AutoPromote}, def: "true",
			usage: "Whether this member, while it leads, promotes a new member to a voter once it has caught up; until then the new member follows the log without a vote. The flag of the leader decides, so give all members the same. If false, `POST /v2/members/<id>/promote` does it."},
		{name: "rejoin", value: boolValue{&d.Raft.Rejoin}, def: "false",
			usage: "A member that lost its data directory is removed, and joins under a new ID, instead of refusing to start. With --initial-cluster-state=existing only. First start only."},
		{name: "snapshot-rate", value: sizeValue[int64]{&d.Raft.SnapshotRate, 64 << 10, 100 << 30, "unlimited"}, def: "0",
			usage: "Bytes a second that a snapshot may take on its way to another member."},
	}
}

func unsafeRows(d *draft) []row {
	return []row{
		{name: "unsafe-no-fsync", value: boolValue{&d.Storage.UnsafeNoFsync}, def: "false",
			usage: "Acknowledge writes before they are on disk: a crash of the machine loses them. Warned about at every start."},
		{name: "force-peer-urls", value: clusterValue{&d.ForcePeerURLs},
			usage: "New addresses of the members, if all have moved and none can reach another: they are used until the list of members has them. Each member proposes its own, so give the same list to all. Later starts with the same list ignore it."},
		{name: "force-new-cluster", value: wordValue{&d.Force, "again"}, def: "false",
			usage: "Start a new cluster, with a new ID and this member alone, from the data of one member of a lost cluster. Remove the flag afterwards: once members were added, it is refused, unless its value is `again`."},
	}
}

func commandRows() []row {
	return []row{
		{name: "help", value: boolValue{new(bool)}, def: "false", command: Help, usage: "Show this text; also -h."},
		{name: "version", value: boolValue{new(bool)}, def: "false", command: Version, usage: "Show the version."},
		{name: "check-config", value: wordValue{new(string), "quiet"}, def: "false", command: Check,
			usage: "Check flags and variables, and that the data directory can be used or made; show the effective configuration and where each value comes from, and exit: 0 if it is good, 1 if not. `quiet` shows errors and warnings only."},
	}
}
