package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"
)

// calm is how long a server is left alone before its memory or its disk is
// measured: what it only needs under load does not count.
const calm = 3 * time.Second

// rest waits for calm.
func rest(ctx context.Context) error {
	select {
	case <-time.After(calm):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// calmBytes is the resident memory after a rest.
func calmBytes(ctx context.Context, t target) (int64, error) {
	if err := rest(ctx); err != nil {
		return 0, err
	}
	return t.residentBytes(), nil
}

// runMemory measures what o.keys keys add to the resident memory.
func runMemory(ctx context.Context, t target, o options) (result, error) {
	before, err := calmBytes(ctx, t)
	if err != nil {
		return result{}, err
	}
	begin := time.Now()
	if err := preload(ctx, t, o.keys, o.valueBytes); err != nil {
		return result{}, err
	}
	elapsed := time.Since(begin)
	after, err := calmBytes(ctx, t)
	return result{
		Requests: uint64(o.keys), Throughput: float64(o.keys) / elapsed.Seconds(),
		Extra: map[string]float64{"bytes_per_key": float64(after-before) / float64(o.keys)},
	}, err
}

// runFresh measures a server that has just been started, and holds nothing.
func runFresh(ctx context.Context, t target, _ options) (result, error) {
	memory, err := calmBytes(ctx, t)
	if err != nil {
		return result{}, err
	}
	bytes, err := diskBytes(t.server.dir)
	return result{Requests: 1, Extra: map[string]float64{
		"resident_mib": float64(memory) / (1 << 20),
		"disk_mib":     float64(bytes) / (1 << 20),
	}}, err
}

// diskBytes is what the files below a directory take of the disk.
func diskBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server has removed it meanwhile
		}
		if err != nil {
			return err
		}
		total += allocated(info)
		return nil
	})
	return total, err
}

// runIdleStreams and runIdlePolls measure what watches add to the resident
// memory while nothing happens.
func runIdleStreams(ctx context.Context, t target, o options) (result, error) {
	return runIdle(ctx, t, o, "/v2/keys/watched?wait=true&stream=true")
}

func runIdlePolls(ctx context.Context, t target, o options) (result, error) {
	return runIdle(ctx, t, o, "/v2/keys/watched?wait=true")
}

func runIdle(ctx context.Context, t target, o options, path string) (r result, err error) {
	before, err := calmBytes(ctx, t)
	if err != nil {
		return result{}, err
	}
	streams, err := openStreams(ctx, t, o.watchers, path)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, streams.close()) }()
	after, err := calmBytes(ctx, t)
	return result{
		Requests: uint64(o.watchers),
		Extra:    map[string]float64{"bytes_per_watcher": float64(after-before) / float64(o.watchers)},
	}, err
}
