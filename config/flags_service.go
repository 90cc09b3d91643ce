package config

import (
	"time"

	"canopy/config/value"
)

func proxyRows(d *draft) []row {
	timing := func(name string, p *time.Duration, def, zero, usage string) row {
		return row{name: name, value: value.Time(p, time.Millisecond, 24*time.Hour, zero), def: def, usage: usage}
	}
	p := &d.Proxy
	return []row{
		{name: "proxy", value: value.Choice(&p.Mode, []string{ProxyOff, ProxyReadonly, ProxyOn}, nil), def: ProxyOff,
			usage: "Serve as a proxy to a cluster instead of as a member; readonly forwards reads only. A data directory that belongs to a member or a proxy stays so."},
		timing("proxy-failure-wait", &p.FailureWait, "5s", "", "Time between probes of the endpoints. An endpoint that fails gets no requests until a probe succeeds."),
		timing("proxy-refresh-interval", &p.RefreshInterval, "30s", "", "Time between refreshes of the list of members."),
		timing("proxy-dial-timeout", &p.DialTimeout, "1s", "none", "Time to connect to an endpoint."),
		timing("proxy-write-timeout", &p.WriteTimeout, "5s", "none", "Time for one write to an endpoint."),
		timing("proxy-read-timeout", &p.ReadTimeout, "0", "none", "Time for one read from an endpoint; anything but 0 cuts watches."),
	}
}

func securityRows(d *draft) []row {
	rows := []row{
		{name: "cors", value: value.List(&d.HTTP.CORS, value.Origin, "*, or origins such as https://a.example, with commas"),
			usage: "Web origins whose pages may read answers, and post forms. Empty: none."},
		{name: "host-whitelist", value: value.List(&d.raw.hosts, value.HostName, "*, or host names with commas"),
			usage: "Names allowed in the Host header; others are answered 421. IP addresses, localhost and the hosts of --advertise-client-urls are always allowed. Empty: for requests to a loopback address, names without a dot and the name of this machine too, for others every name. `*`: every name everywhere."},
	}
	rows = append(rows, tlsRows(d)...)
	return append(rows, row{name: "bcrypt-cost", value: value.Count(&d.HTTP.BcryptCost, 4, 31, ""), def: "10",
		usage: "Work of hashing a password that is set from now on, as a power of two: 10 takes some 60 ms of a processor, each step more twice as much."})
}

func loggingRows(d *draft) []row {
	levels := map[string]string{"warning": "warn"}
	formats := []string{"text", "json"}
	l := &d.Log
	return []row{
		{name: "log-level", value: value.Choice(&l.Level, []string{"debug", "info", "warn", "error", "fatal", "panic"}, levels), def: "info",
			usage: "Least severe level that is logged."},
		{name: "log-format", value: value.Choice(&l.Format, formats, nil), def: "text",
			usage: "One line of text or one JSON object for each entry."},
		{name: "log-outputs", value: value.List(&l.Outputs, parseOutput, "stderr (also default), stdout or file names, with commas"), def: "stderr",
			usage: "Where log lines go."},
		{name: "access-log", value: value.Bool(&d.HTTP.AccessLog), def: "false",
			usage: "Log every request when it is done, with status, duration and bytes."},
		{name: "audit-log", value: value.Text(&d.HTTP.AuditLog, "a file name, or - for standard output"),
			usage: "Write a line of JSON for each change that a client asks for and each request that is refused: who, from where, what, and how it ended; never a value or a password. The file is opened again at SIGHUP. Empty: none."},
		{name: "audit-reads", value: value.Bool(&d.HTTP.AuditReads), def: "false",
			usage: "Write reads and watches to the audit log, too."},
		{name: "debug", value: value.Bool(&d.raw.debug), def: "false", aliasOf: "log-level",
			usage: "Short for --log-level=debug, which it overrides."},
		{name: "logger", value: value.Choice(&d.raw.logger, formats, map[string]string{"zap": "json", "capnslog": "text"}), def: "text", aliasOf: "log-format",
			usage: "3.4's name of --log-format."},
		{name: "log-package-levels", value: value.Text(&l.PackageLevels, "package=LEVEL, with commas"),
			usage: "Least severe levels of single packages: etcdserver, rafthttp, and etcdmain for all else; * is every package. A wrong value is ignored, with a warning."},
	}
}

func limitRows(d *draft) []row {
	h, w := &d.HTTP, &d.Watch
	const none = "no limit"
	timeout := func(name string, p *time.Duration, def, usage string) row {
		return row{name: name, value: value.Time(p, 100*time.Millisecond, 24*time.Hour, ""), def: def, usage: usage}
	}
	return []row{
		{name: "memory-budget", value: memoryBudget(&h.MemoryBudget), def: "0",
			usage: "Memory that clients may occupy in this process: connections, requests, answers, watches. Beyond it, 503 with Retry-After or a closed connection, and clients that do not read their answers are disconnected."},
		{name: "max-header-bytes", value: value.Size(&h.MaxHeaderBytes, 4<<10, 16<<20, ""), def: "64KiB",
			usage: "Request line and headers of a request; beyond it, 431 and the connection is closed."},
		{name: "max-request-bytes", value: value.Size(&h.MaxRequestBytes, 1, 64<<20, "10 MiB"), def: "0",
			usage: "Body of a request; beyond it, 400 with code 210, `http: POST too large`."},
		{name: "max-value-bytes", value: value.Size(&h.MaxValueBytes, 1, 64<<20, none), def: "0",
			usage: "One value, decoded; beyond it, 400 with code 210."},
		{name: "max-key-depth", value: value.Count(&h.MaxKeyDepth, 1, 16384, "16384, the most there can be"), def: "512",
			usage: "Components of a key; beyond it, PUT, POST and watches are answered 400 with code 209. Existing keys can be read and deleted."},
		{name: "max-key-bytes", value: value.Size(&h.MaxKeyBytes, 1, 16<<20, none), def: "8KiB",
			usage: "A key, decoded; beyond it, as for --max-key-depth."},
		{name: "max-connections-per-client", value: value.Count(&h.MaxPerClient, 1, 1e6, "63 of 64 that there can be"), def: "0",
			usage: "Connections from one address, or one /64 network of IPv6, to each port; beyond it, an idle connection of the same address is closed for a new one; if there is none, the new one is served only /health, /metrics and /v2/members, and 503 for all else. On the peer port the oldest connection of the address is closed; those of members do not count."},
		{name: "max-watches", value: value.Count(&w.Max, 1, 1e8, ""), def: "100000",
			usage: "Watches open at once; one more is answered 503."},
		{name: "watch-queue", value: value.Count(&w.Queue, 1, 1e6, ""), def: "128",
			usage: "Events that may wait for a watcher. One that lags further reads the history, and ends if the history no longer has its next event."},
		{name: "history-events", value: value.Count(&w.HistoryEvents, 1, 1e8, ""), def: "100000",
			usage: "Events kept for waitIndex; a waitIndex before them is answered 401."},
		{name: "history-bytes", value: value.Size(&w.HistoryBytes, 64<<10, 64<<30, ""), def: "64MiB",
			usage: "Bytes of events kept for waitIndex, whichever limit is reached first. At most a sixteenth of the disk is used."},
		timeout("header-timeout", &h.HeaderTimeout, "10s", "Time for the line and headers of a request to arrive; then the connection is closed."),
		timeout("body-timeout", &h.BodyTimeout, "60s", "Time for the body of a request to arrive; then the connection is closed. Never cuts an answer or a watch."),
		timeout("idle-timeout", &h.IdleTimeout, "5m", "Time that a connection may stay open without a request; then it is closed."),
		{name: "startup-grace", value: value.Time(&h.StartupGrace, 100*time.Millisecond, time.Hour, "none"), def: "5s",
			usage: "Time after a start of a member or proxy in which requests wait until they can be served, up to 1024 of them; beyond it, 503 with Retry-After at once."},
	}
}

func profilingRows(d *draft) []row {
	return []row{
		{name: "enable-pprof", value: value.Bool(&d.HTTP.Pprof), def: "false",
			usage: "Serve profiles under /debug/pprof on the client port; off, it answers 404."},
		{name: "listen-metrics-urls", value: value.OptionalURLList(&d.ListenMetricsURLs),
			usage: "Where to serve /metrics and /health, and nothing else, besides the client port."},
		{name: "metrics", value: value.Choice(new(string), []string{"basic", "extensive"}, nil), def: "basic", noEffect: "all metrics are always served",
			usage: "Known to 3.4's unit files."},
	}
}

// parseOutput checks an entry of --log-outputs.
func parseOutput(s string) (string, error) {
	if s == "default" {
		return "stderr", nil
	}
	return s, nil
}

// memoryBudget is the value of a flag that members, proxies and discovery services have.
func memoryBudget(p *int64) value.Value {
	return value.Size(p, 1<<20, 512<<30, "a quarter of the limit on this process, or an eighth of the machine's memory")
}
