package main

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"
)

// tellStop gives a function that is called when all has ended: it logs that, if a
// signal has ended ctx.
func tellStop(ctx context.Context, logger *logrus.Logger) (ended func()) {
	asked := make(chan time.Time, 1)
	unhook := context.AfterFunc(ctx, func() { asked <- time.Now() })
	return func() {
		if !unhook() {
			logger.Infof("stopped, %v after this: %v", time.Since(<-asked).Round(time.Millisecond), context.Cause(ctx))
		}
	}
}
