// Command bench loads servers of the etcd v2 HTTP API and measures them.
//
//	go run ./bench --workload put --connections 64 --endpoint http://127.0.0.1:2379
//	go run ./bench --workload all --server 'canopy=./canopy --data-dir {dir} …' --server 'etcd=etcd …'
//
// Given an endpoint, it measures what is there. Given command lines, it starts
// each server itself, on loopback and on an empty directory, measures one
// after the other within each round, and prints ratios of the medians to the
// last server named: so both meet the same machine in the same state.
//
// The load is a closed loop: each connection has one request under way. A
// server that stalls therefore also stalls the load, and shows in the maximum
// and in the throughput rather than in the median.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// options are what the command line says.
type options struct {
	endpoint    string
	members     int
	follower    bool
	servers     []string
	workloads   []string
	connections int
	valueBytes  int
	keys        int
	watchers    int
	duration    time.Duration
	rounds      int
	json        bool
	bare        string
	security    security
	user        string
	patterns    int
	users       int
	wrong       int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, argv []string) error {
	o, err := parse(argv)
	if err != nil || o == nil {
		return err
	}
	if o.bare != "" {
		return serveBare(ctx, o.bare, o.valueBytes)
	}
	chosen, err := choose(o.workloads)
	if err != nil {
		return err
	}
	var all []measurement
	if len(o.servers) == 0 {
		all, err = measureEndpoint(ctx, *o, chosen)
	} else {
		all, err = measureServers(ctx, *o, chosen)
	}
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(all)
	}
	return printReport(os.Stdout, all)
}

func parse(argv []string) (*options, error) {
	var o options
	flags := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	flags.StringVar(&o.endpoint, "endpoint", "http://127.0.0.1:2379", "server to measure, if no --server is given")
	flags.StringArrayVar(&o.servers, "server", nil, "NAME=COMMAND of a server to start; {dir}, {client} and {peer} are filled in (repeatable)")
	flags.StringSliceVarP(&o.workloads, "workload", "w", []string{"put", "get"}, "what to measure: "+strings.Join(workloadNames(), ", ")+", or all")
	flags.IntVarP(&o.connections, "connections", "c", 64, "connections at once, 1 to 10000")
	flags.IntVar(&o.valueBytes, "value-bytes", 64, "size of a value, 0 to 1048576")
	flags.IntVar(&o.keys, "keys", 10_000, "keys written to, held, listed or restarted with, 1 to 10000000")
	flags.IntVar(&o.watchers, "watchers", 1000, "streams of the watch workload, 1 to 10000")
	flags.DurationVarP(&o.duration, "duration", "d", 5*time.Second, "of each measurement, 100ms to 10m")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each server is measured, 1 to 100")
	flags.IntVar(&o.members, "members", 1, "members of the cluster that is started for each --server, 1 to 9; {name} and {cluster} are filled in, too")
	flags.BoolVar(&o.follower, "follower", false, "measure a member that does not lead")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	flags.BoolVar(&o.security.on, "tls", false, "start each --server with an https URL as {client}; {cert} and {key} of it are filled in")
	flags.StringVar(&o.security.caFile, "ca-file", "", "authorities of an https --endpoint; default: those of the system")
	flags.StringVar(&o.security.certFile, "cert-file", "", "certificate to show to an https --endpoint")
	flags.StringVar(&o.security.keyFile, "key-file", "", "key of --cert-file")
	flags.StringVar(&o.security.serverName, "server-name", "", "host that the certificate of an https --endpoint must be valid for; default: that of its URL")
	flags.BoolVar(&o.security.each, "goroutines", false, "load with a goroutine for each connection, as it is done with TLS: to compare with that")
	flags.StringVar(&o.user, "user", "", "NAME:PASSWORD of all requests; a --server gets that user, and then has users enabled")
	flags.IntVar(&o.patterns, "patterns", 1, "patterns of the role of --user, 1 to 100000")
	flags.IntVar(&o.users, "users", 1000, "users of first-logins, 1 to 10000")
	flags.IntVar(&o.wrong, "wrong", 1000, "wrong passwords a second, 1 to 100000")
	flags.StringVar(&o.bare, "bare", "", "only serve a bare net/http handler on this URL, to compare GETs with")
	if err := flags.Parse(argv); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, nil
		}
		return nil, err
	}
	return &o, o.check()
}

func (o *options) check() error {
	for _, c := range []struct {
		flag      string
		n, lo, hi int
	}{
		{"connections", o.connections, 1, 10_000},
		{"value-bytes", o.valueBytes, 0, 1 << 20},
		{"keys", o.keys, 1, 10_000_000},
		{"watchers", o.watchers, 1, 10_000},
		{"rounds", o.rounds, 1, 100},
		{"members", o.members, 1, 9},
		{"patterns", o.patterns, 1, 100_000},
		{"users", o.users, 1, 10_000},
		{"wrong", o.wrong, 1, 100_000},
		{"duration (ms)", int(o.duration.Milliseconds()), 100, 600_000},
	} {
		if c.n < c.lo || c.n > c.hi {
			return fmt.Errorf("--%s is %d, allowed are %d to %d", c.flag, c.n, c.lo, c.hi)
		}
	}
	return nil
}
