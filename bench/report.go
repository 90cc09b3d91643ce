package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// measurement is all that was measured of one server by one workload.
type measurement struct {
	Workload string   `json:"workload"`
	Headline string   `json:"headline"`
	Server   string   `json:"server"`
	Rounds   []result `json:"rounds"`
	Median   float64  `json:"median"` // of the headline
	Ratio    float64  `json:"ratio"`  // to the median of the last server; 0 if that is 0
}

// measureEndpoint measures a server that is there already.
func measureEndpoint(ctx context.Context, o options, chosen []workload) ([]measurement, error) {
	var all []measurement
	for _, w := range chosen {
		if w.owns {
			return nil, fmt.Errorf("the workload %s stops its server: give --server", w.name)
		}
		m := measurement{Workload: w.name, Headline: w.headline, Server: o.endpoint}
		to := target{endpoint: o.endpoint, who: o.who(), each: o.security.each}
		if strings.HasPrefix(o.endpoint, "https://") {
			var err error
			if to.tls, err = o.security.config(); err != nil {
				return nil, err
			}
		}
		for range o.rounds {
			r, err := w.run(ctx, to, o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			m.Rounds = append(m.Rounds, r)
		}
		all = append(all, m)
	}
	return all, compare(all, 1)
}

// measureServers runs each workload on each server in turn, round by round.
// Every measurement begins with an empty server.
func measureServers(ctx context.Context, o options, chosen []workload) ([]measurement, error) {
	var all []measurement
	for _, w := range chosen {
		row := make([]measurement, len(o.servers))
		for round := range o.rounds {
			for i, line := range o.servers {
				name, r, err := measureFresh(ctx, o, w, line)
				if err != nil {
					return nil, fmt.Errorf("%s on %s, round %d: %w", w.name, name, round+1, err)
				}
				row[i].Workload, row[i].Headline, row[i].Server = w.name, w.headline, name
				row[i].Rounds = append(row[i].Rounds, r)
			}
		}
		all = append(all, row...)
	}
	return all, compare(all, len(o.servers))
}

func measureFresh(ctx context.Context, o options, w workload, line string) (name string, r result, err error) {
	c, err := newCluster(line, o.members, o.security.on)
	if err != nil {
		return line, result{}, err
	}
	defer func() { err = errors.Join(err, c.remove()) }()
	path := "/health"
	if strings.Contains(line, "--bare") {
		path = "/"
	}
	if err := c.start(ctx, path, o.follower); err != nil {
		return c.at.name, result{}, err
	}
	to := target{endpoint: c.at.endpoint, server: c.at, tls: c.at.tls, each: o.security.each}
	if o.user != "" {
		if err := o.enableUsers(ctx, to); err != nil {
			return c.at.name, result{}, err
		}
		to.who = o.who()
	}
	settle()
	r, err = w.run(ctx, to, o)
	return c.at.name, r, err
}

// compare fills in medians and ratios, for rows of so many servers.
func compare(all []measurement, servers int) error {
	for i := range all {
		var values []float64
		for _, r := range all[i].Rounds {
			v, err := r.figure(all[i].Headline)
			if err != nil {
				return err
			}
			values = append(values, v)
		}
		slices.Sort(values)
		all[i].Median = values[len(values)/2]
	}
	for i := range all {
		if base := all[i/servers*servers+servers-1].Median; base != 0 {
			all[i].Ratio = all[i].Median / base
		}
	}
	return nil
}

// figure finds a figure by its name in JSON.
func (r result) figure(name string) (float64, error) {
	if v, ok := r.Extra[name]; ok {
		return v, nil
	}
	bytes, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	var fields map[string]any
	if err := json.Unmarshal(bytes, &fields); err != nil {
		return 0, err
	}
	v, ok := fields[name].(float64)
	if !ok {
		return 0, fmt.Errorf("there is no figure %q", name)
	}
	return v, nil
}

func printReport(w io.Writer, all []measurement) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "workload\tserver\tper second\tp50 ms\tp99 ms\tp99.9 ms\tmax ms\tfigure\tmedian\tratio\t")
	for _, m := range all {
		r := m.Rounds[len(m.Rounds)-1]
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%.2f\t%.3f\t\n",
			m.Workload, m.Server, r.Throughput, r.P50, r.P99, r.P999, r.Max, m.Headline, m.Median, m.Ratio)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range all {
		r := m.Rounds[len(m.Rounds)-1]
		for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
			fmt.Fprintf(w, "%s %s %s = %.2f\n", m.Workload, m.Server, name, r.Extra[name])
		}
	}
	return nil
}
