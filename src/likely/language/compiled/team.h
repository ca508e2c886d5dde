/* Workers that share the parts of one job. The caller is one of them; the others wait, spinning a little, then asleep.

   Parts are taken, not given: on a machine that does other things, too, a worker may not be running, and who runs does
   its part. What is waited for at the end is only what somebody has begun. */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SPINS 20000

typedef void (*Part)(void *all, int worker, int workers);

typedef struct Team {
    int workers;
    atomic_int begun, next, left; /* jobs begun so far; of the present one: the next part to take, parts not yet done */
    Part part;
    void *all;
    int ended;
    pthread_t thread[64];
    pthread_mutex_t lock;
    pthread_cond_t wake;
} Team;

static inline void relax(int spins) {
    if (spins % 64 == 63) sched_yield();
#if defined(__x86_64__) || defined(__i386__)
    else __builtin_ia32_pause();
#endif
}

/* Take parts of the present job until none is left. */
static void take(Team *team) {
    for (int part; (part = atomic_fetch_add(&team->next, 1)) < team->workers;) {
        team->part(team->all, part, team->workers);
        atomic_fetch_sub(&team->left, 1);
    }
}

static void *work(void *given) {
    Team *team = given;
    for (int seen = 0;;) {
        for (int spins = 0; atomic_load(&team->begun) == seen && spins < SPINS; spins++) relax(spins);
        if (atomic_load(&team->begun) == seen) {
            pthread_mutex_lock(&team->lock);
            while (atomic_load(&team->begun) == seen) pthread_cond_wait(&team->wake, &team->lock);
            pthread_mutex_unlock(&team->lock);
        }
        seen = atomic_load(&team->begun);
        if (team->ended) return NULL;
        take(team);
    }
}

static void begin(Team *team) {
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->begun, 1);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
}

/* Do `all` in as many parts as there are workers; back when all are done. A worker that comes late finds the parts of
   this job taken, or takes one of the next: never of a job that is over, whose parts were all done before it ended. */
static void run(Team *team, Part part, void *all) {
    if (team->workers == 1) { part(all, 0, 1); return; }
    team->part = part, team->all = all;
    atomic_store(&team->left, team->workers);
    atomic_store(&team->next, 0);
    begin(team);
    take(team);
    for (int spins = 0; atomic_load(&team->left); spins++) relax(spins);
}

/* A team of at most so many workers; NULL without memory. Fewer where threads cannot be started. */
Team *gather(int workers) {
    Team *team = calloc(1, sizeof *team);
    if (!team) return NULL;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    team->workers = 1;
    for (int i = 1; i < workers && i < 64; i++) {
        if (pthread_create(&team->thread[i], NULL, work, team)) break;
        team->workers = i + 1;
    }
    return team;
}

void dismiss(Team *team) {
    team->ended = 1;
    if (team->workers > 1) begin(team);
    for (int i = 1; i < team->workers; i++) pthread_join(team->thread[i], NULL);
    pthread_mutex_destroy(&team->lock);
    pthread_cond_destroy(&team->wake);
    free(team);
}
