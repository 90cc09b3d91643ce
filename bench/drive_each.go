package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"
)

// driveEach is drive with a goroutine for each connection.
func driveEach(ctx context.Context, t target, connections int, next func(connection, n int) []byte) (*histogram, error) {
	histograms := make([]histogram, connections)
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() { errs[i] = driveOne(ctx, t, &histograms[i], func(n int) []byte { return next(i, n) }) })
	}
	all.Wait()
	var sum histogram
	for i := range histograms {
		sum.merge(&histograms[i])
	}
	return &sum, errors.Join(errs...)
}

func driveOne(ctx context.Context, t target, h *histogram, next func(n int) []byte) error {
	c, err := dial(t)
	if err != nil {
		return err
	}
	defer c.Close()
	for n := 0; ctx.Err() == nil; n++ {
		request := next(n)
		if request == nil {
			return nil
		}
		begin := time.Now()
		status, err := c.exchange(request, nil)
		if err != nil {
			return err
		}
		if status != 200 && status != 201 {
			return badStatus(request, strconv.Itoa(status))
		}
		h.add(time.Since(begin))
	}
	return ctx.Err()
}
