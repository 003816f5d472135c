"""Money: intents, orders with their history, fills, positions, cash flows and equity."""

from __future__ import annotations

from quant_pipeline.storage.migrations.schema_0001.common import append_only

STATEMENTS = (
    """
    CREATE TABLE intents (
        id text PRIMARY KEY,
        decision_id text NOT NULL REFERENCES decisions (id),
        market text NOT NULL,
        book text NOT NULL,
        symbol text NOT NULL,
        side text NOT NULL CHECK (side IN ('buy', 'sell')),
        leg text NOT NULL
            CHECK (leg IN ('entry', 'exit', 'stop_loss', 'take_profit', 'rebalance_out', 'rebalance_in')),
        qty exact CHECK (qty > 0),
        notional exact CHECK (notional > 0),
        depends_on text REFERENCES intents (id),
        not_before timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        status text NOT NULL CHECK (status IN ('open', 'sent', 'done', 'expired', 'cancelled', 'rejected')),
        reason text NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CHECK (num_nonnulls(qty, notional) = 1),
        CHECK (not_before < expires_at)
    )
    """,
    """
    CREATE INDEX intents_live ON intents (market, book) WHERE status IN ('open', 'sent')
    """,
    """
    CREATE INDEX intents_time ON intents (market, book, created_at)
    """,
    """
    CREATE INDEX intents_decision ON intents (decision_id)
    """,
    """
    CREATE TABLE orders (
        client_id text PRIMARY KEY,
        intent_id text NOT NULL REFERENCES intents (id),
        attempt integer NOT NULL,
        market text NOT NULL,
        book text NOT NULL,
        venue text NOT NULL,
        venue_id text,
        symbol text NOT NULL,
        side text NOT NULL CHECK (side IN ('buy', 'sell')),
        order_type text NOT NULL,
        tif text,
        qty exact,
        notional exact,
        limit_price exact,
        state text NOT NULL,
        filled_qty exact NOT NULL DEFAULT 0 CHECK (filled_qty >= 0),
        avg_price exact,
        fee exact NOT NULL DEFAULT 0,
        planned_at timestamptz NOT NULL,
        submitted_at timestamptz,
        updated_at timestamptz NOT NULL,
        venue_updated_at timestamptz,
        last_error text NOT NULL DEFAULT '',
        CHECK (num_nonnulls(qty, notional) = 1),
        UNIQUE (intent_id, attempt)
    )
    """,
    """
    CREATE INDEX orders_live ON orders (market, book)
        WHERE state IN ('pending', 'unknown', 'accepted', 'partially_filled')
    """,
    """
    CREATE INDEX orders_time ON orders (market, book, planned_at)
    """,
    """
    CREATE TABLE order_events (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        client_id text NOT NULL REFERENCES orders (client_id),
        at timestamptz NOT NULL,
        state text NOT NULL,
        filled_qty exact NOT NULL,
        avg_price exact,
        fee exact NOT NULL,
        venue_status text NOT NULL,
        note text NOT NULL
    )
    """,
    """
    CREATE INDEX order_events_order ON order_events (client_id, id)
    """,
    *append_only("order_events"),
    # `derived`: the venue gave only totals, so the fill is the difference between two reports.
    """
    CREATE TABLE fills (
        client_id text NOT NULL REFERENCES orders (client_id),
        fill_id text NOT NULL,
        market text NOT NULL,
        book text NOT NULL,
        symbol text NOT NULL,
        side text NOT NULL CHECK (side IN ('buy', 'sell')),
        qty exact NOT NULL CHECK (qty > 0),
        price exact NOT NULL CHECK (price >= 0),
        fee exact NOT NULL,
        at timestamptz NOT NULL,
        derived boolean NOT NULL,
        recorded_at timestamptz NOT NULL,
        PRIMARY KEY (client_id, fill_id)
    )
    """,
    """
    CREATE INDEX fills_book ON fills (market, book, at)
    """,
    *append_only("fills"),
    # `cost` is what the holding was bought for; the average is derived from it, so that nothing is lost by rounding.
    """
    CREATE TABLE positions (
        market text NOT NULL,
        book text NOT NULL,
        symbol text NOT NULL,
        qty exact NOT NULL,
        cost exact NOT NULL,
        avg_price exact NOT NULL,
        realised_pnl exact NOT NULL,
        fees exact NOT NULL,
        opened_at timestamptz,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (market, book, symbol)
    )
    """,
    """
    CREATE TABLE cash_flows (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        market text NOT NULL,
        book text NOT NULL,
        at timestamptz NOT NULL,
        amount exact NOT NULL,
        kind text NOT NULL,
        ref text NOT NULL,
        client_id text REFERENCES orders (client_id),
        UNIQUE (market, book, kind, ref)
    )
    """,
    """
    CREATE INDEX cash_flows_time ON cash_flows (market, book, at)
    """,
    """
    CREATE INDEX cash_flows_order ON cash_flows (client_id) WHERE client_id IS NOT NULL
    """,
    *append_only("cash_flows"),
    """
    CREATE TABLE equity (
        market text NOT NULL,
        book text NOT NULL,
        at timestamptz NOT NULL,
        session date NOT NULL,
        cash exact NOT NULL,
        positions_value exact NOT NULL,
        equity exact NOT NULL,
        PRIMARY KEY (market, book, at)
    )
    """,
)
