// Package load is the command bench: it says how many requests a cluster answers, and how fast. It is for a first look; what the
// load tool of this repository measures, and how, is in its own package.
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/ctl/command"
)

// work is what is to be done.
type work struct {
	clients, requests, valueBytes int
	quorum                        bool
}

// result is what came out of it.
type result struct {
	Requests  int     `json:"requests"`
	Failed    int     `json:"failed"`
	PerSecond float64 `json:"perSecond"`
	Median    float64 `json:"medianMs"`
	P99       float64 `json:"p99Ms"`
	Max       float64 `json:"maxMs"`
}

// Commands is bench.
func Commands(h *command.Host) []*cobra.Command {
	var w work
	c := &cobra.Command{Use: "bench set|get", Short: "Measure how fast the cluster answers",
		Long: "Measure how fast the cluster answers. All keys are in a new directory, which is deleted afterwards; the load is real."}
	c.Flags().IntVar(&w.clients, "clients", 16, "requests at the same time")
	c.Flags().IntVar(&w.requests, "requests", 10_000, "requests in all")
	c.Flags().IntVar(&w.valueBytes, "value-bytes", 64, "length of each value")
	c.Flags().BoolVarP(&w.quorum, "quorum", "q", false, "get: read what a majority has agreed on")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) != 1 || args[0] != "set" && args[0] != "get":
			return command.Usage("set or get is needed")
		case w.clients < 1 || w.clients > 10_000 || w.requests < 1 || w.requests > 100_000_000 || w.valueBytes < 0 || w.valueBytes > 1<<20:
			return command.Usage("--clients may be 1 to 10000, --requests 1 to 100000000, --value-bytes 0 to 1048576")
		}
		return h.RunLong(c.Context(), func(ctx context.Context, cl *client.Client) error {
			r, err := w.measure(ctx, cl, args[0])
			if err != nil {
				return err
			}
			return r.print(h)
		})
	}
	return []*cobra.Command{c}
}

// measure makes the requests in a directory of its own.
func (w work) measure(ctx context.Context, c *client.Client, what string) (r result, err error) {
	dir := fmt.Sprintf("/canopy-bench-%016x", rand.Uint64())
	if _, err := c.Set(ctx, dir, "", client.SetOptions{Dir: true, PrevExist: client.Never}); err != nil {
		return r, err
	}
	defer func() {
		_, removeErr := c.Delete(context.WithoutCancel(ctx), dir, client.DeleteOptions{Recursive: true})
		err = errors.Join(err, removeErr)
	}()
	value := strings.Repeat("x", w.valueBytes)
	key := func(n int) string { return fmt.Sprintf("%s/%d", dir, n%w.clients) }
	set := func(ctx context.Context, n int) error {
		_, err := c.Set(ctx, key(n), value, client.SetOptions{Brief: true})
		return err
	}
	do := set
	if what == "get" {
		for n := range w.clients {
			if err := set(ctx, n); err != nil {
				return r, err
			}
		}
		do = func(ctx context.Context, n int) error {
			_, err := c.Get(ctx, key(n), client.GetOptions{Quorum: w.quorum})
			return err
		}
	}
	return w.drive(ctx, do), nil
}

// drive makes all requests, each client one after the other.
func (w work) drive(ctx context.Context, do func(context.Context, int) error) result {
	var next, failed atomic.Int64
	took := make([][]time.Duration, w.clients)
	begin := time.Now()
	var all sync.WaitGroup
	for n := range w.clients {
		all.Go(func() {
			for ctx.Err() == nil && int(next.Add(1)) <= w.requests {
				sent := time.Now()
				if err := do(ctx, n); err != nil {
					failed.Add(1)
					continue
				}
				took[n] = append(took[n], time.Since(sent))
			}
		})
	}
	all.Wait()
	whole := time.Since(begin)
	times := slices.Concat(took...)
	slices.Sort(times)
	r := result{Requests: len(times), Failed: int(failed.Load()), PerSecond: float64(len(times)) / whole.Seconds()}
	if len(times) > 0 {
		at := func(part float64) float64 {
			return float64(times[min(len(times)-1, int(part*float64(len(times))))]) / float64(time.Millisecond)
		}
		r.Median, r.P99, r.Max = at(0.5), at(0.99), at(1)
	}
	return r
}

func (r result) print(h *command.Host) error {
	var err error
	if h.Format() == command.FormatJSON {
		err = h.JSON(r)
	} else {
		err = h.Printf("%d requests, %.0f a second; median %.2f ms, 99th percentile %.2f ms, slowest %.2f ms; %d failed\n",
			r.Requests, r.PerSecond, r.Median, r.P99, r.Max, r.Failed)
	}
	if err == nil && r.Failed > 0 {
		return command.Exit(4)
	}
	return err
}
