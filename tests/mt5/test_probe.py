from decimal import Decimal as D
from datetime import datetime, timedelta, UTC
import pytest
from brokers.base import *
from brokers.types import *
from tests.mt5.factories import *
def out(f):
    try: return f()
    except Exception as e: return (type(e).__name__, getattr(e,"code",""), getattr(e,"detail",str(e))[:200])
@pytest.mark.parametrize("fields",[{"volume_step":0.0},{"trade_contract_size":0.0},{"point":0.0,"trade_tick_size":0.0},{"volume_min":0.0},{"volume_max":0.0},{"trade_tick_size":0.0},{"volume_step":1e-9}])
def test_bad_symbol(venue, adapter, fields):
    venue.configure_symbol("USDJPY", **fields)
    print("RESULT",fields, out(lambda: [(i.symbol,i.quantity_min,i.quantity_step,i.tick) for i in run(adapter.instruments(spec())) if i.symbol in("USDJPY","EURUSD")]))
    print("RESULT submit EURUSD", out(lambda: submit(adapter, order())[-1].kind))
    print("RESULT submit USDJPY", out(lambda: submit(adapter, order("fcxabcdefghijklmn1",symbol="USDJPY"))[-1].kind))
def test_inout(venue, adapter):
    # netting: person holds short 0.1, ours buys 0.3
    s=spec(1002)
    run(adapter.connect(s))
    pos=out(lambda: submit(adapter, order(quantity=D(30000)), login=1002)[-1])
    print("RESULT", pos)
    venue.control("close", login=1002, ticket=int(pos.broker_position_id), reason=0, comment="", volume=0.5, magic=0)
    print("RESULT positions", out(lambda: [(p.broker_position_id,p.side,p.quantity,p.client_order_id) for p in run(adapter.positions(s))]))
    print("RESULT fills", out(lambda: [(r.client_order_id,r.close_cause,[f.quantity for f in r.fills]) for r in run(adapter.fills_since(s, datetime.now(UTC)-timedelta(hours=1)))]))
def test_inout_ours(venue, adapter):
    s=spec(1002)
    run(adapter.connect(s))
    # the first entry stands for a person's: use another process' order without our mark
    first=out(lambda: submit(adapter, order(EXIT, quantity=D(10000), side=Side.SELL), login=1002)[-1])
    venue.control("unmark", login=1002) if False else None
    mine=out(lambda: submit(adapter, order(quantity=D(30000)), login=1002)[-1])
    print("RESULT mine", mine)
    print("RESULT positions", out(lambda: [(p.broker_position_id,p.side,p.quantity,p.client_order_id) for p in run(adapter.positions(s))]))
    venue.control("close", login=1002, ticket=int(first.broker_position_id), reason=4, comment="[sl]", magic=0)
    print("RESULT fills", out(lambda: [(r.client_order_id,r.close_cause,[f.quantity for f in r.fills]) for r in run(adapter.fills_since(s, datetime.now(UTC)-timedelta(hours=1)))]))
@pytest.mark.parametrize("code",[0,10000,10025,10041,10047,10050,10008,10010,-1])
def test_codes(venue, adapter, code):
    venue.fault("order_send","retcode",code=code)
    print("RESULT", code, out(lambda: submit(adapter, order())[-1]))
@pytest.mark.parametrize("q",["0.07","0.29","0.57","1.15","2.03","33.33"])
def test_noise(venue, adapter, q):
    venue.configure_account(1001, balance=1e9)
    r=out(lambda: submit(adapter, order(quantity=D(q)*100000))[-1].kind)
    print("RESULT noise", q, r)
