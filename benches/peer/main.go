// A plain exporter for the same API, written with client_golang in an afternoon and without optimizations: pages are
// requested one after the other, decoded by encoding/json, counted in maps and exported as constant metrics. It is the
// reference for the benchmarks and not meant for production: its sums are not exact, it retries nothing, and it assumes
// that the list does not change while it is read.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type number struct {
	E164          string    `json:"e164"`
	Country       string    `json:"country"`
	Type          string    `json:"type"`
	Region        string    `json:"region"`
	Status        string    `json:"status"`
	Capabilities  []string  `json:"capabilities"`
	MonthlyFee    float64   `json:"monthly_fee"`
	SetupFee      float64   `json:"setup_fee"`
	Currency      string    `json:"currency"`
	TrunkID       string    `json:"trunk_id"`
	ApplicationID string    `json:"application_id"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

type page struct {
	Data       []number `json:"data"`
	Pagination struct {
		Total      int `json:"total"`
		TotalPages int `json:"total_pages"`
	} `json:"pagination"`
}

// group holds the label values of a sample. Each family uses only as many as it has labels.
type group [4]string

// numberState holds the fields of a number whose changes are counted.
type numberState struct {
	status, currency string
	monthlyFee       float64
}

type listing struct {
	numbers, capabilities, assignments   map[group]float64
	regions, trunks, applications        map[group]float64
	monthlyFees, setupFees, assignedFees map[group]float64
	oldestUpdate                         map[string]time.Time
	newestCreation                       time.Time
	selected                             []number
	truncated, reported                  int
	states                               map[string]numberState
}

type exporter struct {
	numbersURL, key, account string
	interval                 time.Duration
	statuses                 map[string]bool
	limit                    int

	mu                                sync.RWMutex
	last                              *listing
	up                                bool
	succeeded, failed, added, removed float64
	feeIncreases, feeDecreases        float64
	statusChanges                     map[group]float64
	lastPoll, lastSuccess             time.Time
	lastDuration                      time.Duration
	pages                             int
	requests                          *prometheus.CounterVec
	durations                         prometheus.Histogram
}

func (e *exporter) page(n int) (*page, error) {
	start := time.Now()
	request, err := http.NewRequest("GET", fmt.Sprintf("%s?page=%d&per_page=100", e.numbersURL, n), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+e.key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		e.requests.WithLabelValues(e.account, "error").Inc()
		return nil, err
	}
	defer response.Body.Close()
	e.requests.WithLabelValues(e.account, fmt.Sprint(response.StatusCode)).Inc()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("page %d: %s", n, response.Status)
	}
	var p page
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
		return nil, fmt.Errorf("page %d: %w", n, err)
	}
	e.durations.Observe(time.Since(start).Seconds())
	return &p, nil
}

func (e *exporter) list() (*listing, int, error) {
	l := &listing{
		numbers: map[group]float64{}, capabilities: map[group]float64{}, assignments: map[group]float64{},
		regions: map[group]float64{}, trunks: map[group]float64{}, applications: map[group]float64{},
		monthlyFees: map[group]float64{}, setupFees: map[group]float64{}, assignedFees: map[group]float64{},
		oldestUpdate: map[string]time.Time{}, states: map[string]numberState{},
	}
	for n := 1; ; n++ {
		p, err := e.page(n)
		if err != nil {
			return nil, n, err
		}
		l.reported = p.Pagination.Total
		for _, number := range p.Data {
			e.fold(l, number)
		}
		if n >= p.Pagination.TotalPages {
			sort.Slice(l.selected, func(i, j int) bool { return l.selected[i].UpdatedAt.Before(l.selected[j].UpdatedAt) })
			if len(l.selected) > e.limit {
				l.truncated = len(l.selected) - e.limit
				l.selected = l.selected[:e.limit]
			}
			return l, n, nil
		}
	}
}

func (e *exporter) fold(l *listing, n number) {
	if _, isDuplicate := l.states[n.E164]; isDuplicate {
		return
	}
	l.states[n.E164] = numberState{n.Status, n.Currency, n.MonthlyFee}
	for _, status := range []string{"active", "pending", "suspended"} {
		l.numbers[group{n.Country, n.Type, status}] += 0
		l.monthlyFees[group{n.Country, n.Type, status, n.Currency}] += 0
		l.setupFees[group{n.Country, n.Type, status, n.Currency}] += 0
	}
	l.numbers[group{n.Country, n.Type, n.Status}]++
	l.monthlyFees[group{n.Country, n.Type, n.Status, n.Currency}] += n.MonthlyFee
	l.setupFees[group{n.Country, n.Type, n.Status, n.Currency}] += n.SetupFee
	for _, capability := range n.Capabilities {
		l.capabilities[group{capability, n.Status}]++
	}
	assignment := "none"
	switch {
	case n.TrunkID != "" && n.ApplicationID != "":
		assignment = "both"
	case n.TrunkID != "":
		assignment = "trunk"
	case n.ApplicationID != "":
		assignment = "application"
	}
	l.assignments[group{assignment, n.Status}]++
	l.assignedFees[group{assignment, n.Status, n.Currency}] += n.MonthlyFee
	l.regions[group{n.Country, n.Region, n.Status}]++
	l.trunks[group{n.TrunkID, n.Status}]++
	l.applications[group{n.ApplicationID, n.Status}]++
	if oldest, ok := l.oldestUpdate[n.Status]; !ok || n.UpdatedAt.Before(oldest) {
		l.oldestUpdate[n.Status] = n.UpdatedAt
	}
	if n.CreatedAt.After(l.newestCreation) {
		l.newestCreation = n.CreatedAt
	}
	if e.statuses[n.Status] {
		l.selected = append(l.selected, n)
	}
}

func (e *exporter) poll() {
	start := time.Now()
	l, pages, err := e.list()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		log.Print(err)
		e.failed++
		e.up = false
	} else {
		if e.last != nil {
			e.compare(e.last.states, l.states)
		}
		e.last, e.up = l, true
		e.succeeded++
		e.lastSuccess = time.Now()
	}
	e.lastPoll, e.lastDuration, e.pages = time.Now(), time.Since(start), pages
}

func (e *exporter) compare(before, after map[string]numberState) {
	for e164, newState := range after {
		oldState, ok := before[e164]
		if !ok {
			e.added++
			continue
		}
		if oldState.status != newState.status {
			e.statusChanges[group{oldState.status, newState.status}]++
		}
		if oldState.currency == newState.currency && oldState.monthlyFee < newState.monthlyFee {
			e.feeIncreases++
		}
		if oldState.currency == newState.currency && oldState.monthlyFee > newState.monthlyFee {
			e.feeDecreases++
		}
	}
	for e164 := range before {
		if _, ok := after[e164]; !ok {
			e.removed++
		}
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tryvox_"+name, help, append([]string{"account"}, labels...), nil)
}

var (
	numbersDesc        = desc("numbers", "Phone numbers.", "country", "type", "status")
	monthlyFeesDesc    = desc("monthly_fees", "Sum of the monthly fees.", "country", "type", "status", "currency")
	setupFeesDesc      = desc("setup_fees", "Sum of the setup fees.", "country", "type", "status", "currency")
	capabilitiesDesc   = desc("capability_numbers", "Phone numbers by capability.", "capability", "status")
	assignmentsDesc    = desc("assignment_numbers", "Phone numbers by assignment.", "assignment", "status")
	assignedFeesDesc   = desc("assignment_monthly_fees", "Monthly fees by assignment.", "assignment", "status", "currency")
	regionsDesc        = desc("region_numbers", "Phone numbers by region.", "country", "region", "status")
	trunksDesc         = desc("trunk_numbers", "Phone numbers by trunk.", "trunk_id", "status")
	applicationsDesc   = desc("application_numbers", "Phone numbers by application.", "application_id", "status")
	oldestUpdateDesc   = desc("oldest_update_timestamp_seconds", "Oldest update.", "status")
	newestCreationDesc = desc("newest_creation_timestamp_seconds", "Newest creation.")
	infoDesc           = desc("number_info", "A phone number.", "e164", "country", "type", "region", "status", "trunk_id", "application_id")
	feeDesc            = desc("number_monthly_fee", "Monthly fee of a phone number.", "e164", "currency")
	updatedDesc        = desc("number_updated_timestamp_seconds", "Last update of a phone number.", "e164")
	truncatedDesc      = desc("number_series_truncated", "Phone numbers without per-number series.")
	listedDesc         = desc("listed_numbers", "Phone numbers listed.")
	reportedDesc       = desc("reported_numbers", "Phone numbers reported.")
	addedDesc          = desc("numbers_added_total", "Phone numbers added.")
	removedDesc        = desc("numbers_removed_total", "Phone numbers removed.")
	statusChangesDesc  = desc("number_status_changes_total", "Status changes.", "from", "to")
	feeChangesDesc     = desc("number_fee_changes_total", "Fee changes.", "direction")
	upDesc             = desc("up", "1 if the last poll succeeded.")
	pollsDesc          = desc("polls_total", "Polls.")
	pollErrorsDesc     = desc("poll_errors_total", "Failed polls.")
	lastPollDesc       = desc("last_poll_timestamp_seconds", "Time of the last poll.")
	lastSuccessDesc    = desc("last_success_timestamp_seconds", "Time of the last successful poll.")
	lastDurationDesc   = desc("last_poll_duration_seconds", "Duration of the last poll.")
	pagesDesc          = desc("last_poll_pages", "Pages read by the last poll.")
	intervalDesc       = desc("poll_interval_seconds", "Poll interval.")
)

// Describe sends nothing, because the families depend on the listing. That makes the collector an unchecked one.
func (e *exporter) Describe(chan<- *prometheus.Desc) {}

func (e *exporter) Collect(ch chan<- prometheus.Metric) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{e.account}, labels...)...)
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		send(desc, prometheus.GaugeValue, value, labels...)
	}
	counter := func(desc *prometheus.Desc, value float64, labels ...string) {
		send(desc, prometheus.CounterValue, value, labels...)
	}
	table := func(desc *prometheus.Desc, labels int, values map[group]float64) {
		for group, value := range values {
			gauge(desc, value, group[:labels]...)
		}
	}
	up := 0.0
	if e.up {
		up = 1
	}
	gauge(upDesc, up)
	counter(pollsDesc, e.succeeded+e.failed)
	counter(pollErrorsDesc, e.failed)
	counter(addedDesc, e.added)
	counter(removedDesc, e.removed)
	counter(feeChangesDesc, e.feeIncreases, "increase")
	counter(feeChangesDesc, e.feeDecreases, "decrease")
	for change, count := range e.statusChanges {
		counter(statusChangesDesc, count, change[:2]...)
	}
	gauge(intervalDesc, e.interval.Seconds())
	if e.last == nil {
		return
	}
	gauge(lastPollDesc, float64(e.lastPoll.Unix()))
	gauge(lastSuccessDesc, float64(e.lastSuccess.Unix()))
	gauge(lastDurationDesc, e.lastDuration.Seconds())
	gauge(pagesDesc, float64(e.pages))
	table(numbersDesc, 3, e.last.numbers)
	table(monthlyFeesDesc, 4, e.last.monthlyFees)
	table(setupFeesDesc, 4, e.last.setupFees)
	table(capabilitiesDesc, 2, e.last.capabilities)
	table(assignmentsDesc, 2, e.last.assignments)
	table(assignedFeesDesc, 3, e.last.assignedFees)
	table(regionsDesc, 3, e.last.regions)
	table(trunksDesc, 2, e.last.trunks)
	table(applicationsDesc, 2, e.last.applications)
	for status, updated := range e.last.oldestUpdate {
		gauge(oldestUpdateDesc, float64(updated.Unix()), status)
	}
	gauge(newestCreationDesc, float64(e.last.newestCreation.Unix()))
	for _, n := range e.last.selected {
		gauge(infoDesc, 1, n.E164, n.Country, n.Type, n.Region, n.Status, n.TrunkID, n.ApplicationID)
		gauge(feeDesc, n.MonthlyFee, n.E164, n.Currency)
		gauge(updatedDesc, float64(n.UpdatedAt.Unix()), n.E164)
	}
	gauge(truncatedDesc, float64(e.last.truncated))
	gauge(listedDesc, float64(len(e.last.states)))
	gauge(reportedDesc, float64(e.last.reported))
}

func main() {
	apiURL := flag.String("url", "http://127.0.0.1:10870", "base URL of the API")
	account := flag.String("account-id", "acc_demo", "account ID")
	listen := flag.String("listen", "127.0.0.1:0", "listen address")
	interval := flag.Duration("interval", 5*time.Minute, "time between the starts of two polls")
	status := flag.String("status", "suspended", "status whose numbers get per-number series; all for every status")
	limit := flag.Int("limit", 1000, "maximum number of phone numbers with per-number series")
	flag.Parse()

	e := &exporter{
		numbersURL:    *apiURL + "/v1/account/" + url.PathEscape(*account) + "/numbers",
		key:           os.Getenv("TRYVOX_API_KEY"),
		account:       *account,
		interval:      *interval,
		statuses:      map[string]bool{*status: true},
		limit:         *limit,
		statusChanges: map[group]float64{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tryvox_api_requests_total", Help: "Requests.",
		}, []string{"account", "code"}),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tryvox_api_request_duration_seconds", Help: "Duration of requests.",
			ConstLabels: prometheus.Labels{"account": *account},
		}),
	}
	if *status == "all" {
		e.statuses = map[string]bool{"active": true, "pending": true, "suspended": true}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(e, e.requests, e.durations, prometheus.NewProcessCollector(prometheus.ProcessCollectorOpts{}))
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	go func() {
		for ticker := time.NewTicker(*interval); ; <-ticker.C {
			e.poll()
		}
	}()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening address=%s", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
