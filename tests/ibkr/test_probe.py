from dataclasses import replace
from decimal import Decimal as D
import pytest
from brokers.base import *
from brokers.types import *
from brokers.ibkr import parse
from common.reason_codes import Code
from tests.fakes.tws import messages
from tests.fakes.tws.messages import Security
from tests.ibkr.factories import *
ID = "abc00000000000001"

async def out(c):
    try: return await c
    except Exception as e: return (type(e).__name__, getattr(e,"code",""), getattr(e,"detail",str(e))[:200])

def mk(number):
    @with_environment
    async def t(stage):
        stage.fault("unlisted", number, "text")
        print("RESULT submit", number, await out(stage.submit(limit())))
        o=stage.venue.order(ID)
        o.status="Submitted"
        stage.venue.report_order(o,"accepted")
        import asyncio; await asyncio.sleep(0.2)
        print("RESULT open", [x.client_order_id for x in await stage.adapter.open_orders(stage.spec)])
        print("RESULT find", await out(stage.find(ID)))
        print("RESULT events", [(r.kind.name,r.detail) for r in await stage.drain_events()])
        print("RESULT cancel", await out(stage.adapter.cancel(stage.spec, CancelRequest(ID,"","EURUSD",None))), o.status)
    return t
test_383=mk(383); test_201=mk(201); test_10999=mk(10999); test_109=mk(109)

def comm(val):
    @with_environment
    async def t(stage):
        stage.tws.commissions=False
        await stage.submit(order())
        e=stage.venue.executions[-1]
        stage.tws.send(messages.pack(59,1,e.exec_id,val,"USD","","",""))
        import asyncio; await asyncio.sleep(0.2)
        print("RESULT comm",val,[(r.kind.name,[(f.quantity,f.commission,f.is_commission_only) for f in r.fills]) for r in await stage.drain_events()], stage.session.malformed_message)
        print("RESULT", await out(stage.find(ID)))
    return t
test_c1=comm("1.7976931348623157E308"); test_c2=comm("nan"); test_c3=comm(""); test_c4=comm("-1.7976931348623157E308"); test_c5=comm("inf")

def cost(val):
    @with_environment
    async def t(stage):
        await stage.submit(order())
        stage.venue.positions[ACCOUNT,14204]=(D(5),val)
        print("RESULT cost",val, await out(stage.adapter.positions(stage.spec)))
    return t
test_p1=cost("1.7976931348623157E308"); test_p2=cost("nan"); test_p3=cost(""); test_p4=cost("0.0")

def tick(val):
    @with_environment
    async def t(stage):
        s=stage.venue.securities[14204]
        stage.venue.securities[14204]=replace(s,min_tick=val)
        r=await out(stage.adapter.instruments(stage.spec))
        print("RESULT tick",val, [i.symbol for i in r] if isinstance(r,list) else r)
    return t
test_t1=tick("0.0"); test_t2=tick("1.7976931348623157E308"); test_t3=tick("")

@with_environment
async def test_huf(stage):
    stage.venue.securities[777]=Security(777,"USD","CASH","IDEALPRO","HUF","0.005","0.01","0.01",local="USD.HUF")
    stage.settings["symbols"]={"USDHUF":{"secType":"CASH","exchange":"IDEALPRO"},"USDJPY":{"secType":"CASH","exchange":"IDEALPRO"}}
    r=await out(stage.adapter.instruments(stage.spec))
    print("RESULT huf",[(i.symbol,i.pip,i.tick) for i in r] if isinstance(r,list) else r)

@with_environment
async def test_unset_decimal(stage):
    U="170141183460469231731687303715884105727"
    await stage.submit(limit())
    o=stage.venue.order(ID)
    s=stage.venue.securities[o.con_id]
    stage.tws.send(messages.order_status(o,"Submitted",D(U),"0"))
    import asyncio; await asyncio.sleep(0.1)
    print("RESULT unset status",[(r.kind.name,r.fills) for r in await stage.drain_events()])
    print("RESULT", await out(stage.find(ID)))
    stage.venue.end(ID)
    o.filled=D(U)
    print("RESULT completed", await out(stage.find(ID)))

@with_environment
async def test_foreign_unset(stage):
    U=D("170141183460469231731687303715884105727")
    stage.venue.place(0, replace(messages.by_hand(55,12087792,"BUY",D(1),ACCOUNT),kind="LMT",limit="1.0"))
    stage.venue.orders[-1].quantity=U
    await stage.submit(limit())
    print("RESULT foreign", await out(stage.adapter.open_orders(stage.spec)))

def acct(tag,val):
    @with_environment
    async def t(stage):
        import tests.fakes.tws.client_session as cs
        old=cs.VALUES
        cs.VALUES=tuple((a,(val if a==tag else b),c) for a,b,c in old)
        try:
            r=await out(stage.adapter.account(stage.spec))
            print("RESULT acct",tag,val,r)
        finally: cs.VALUES=old
    return t
test_a1=acct("UnrealizedPnL","1.7976931348623157E308"); test_a2=acct("ExchangeRate","nan"); test_a3=acct("InitMarginReq",""); test_a4=acct("NetLiquidation","1,000.50"); test_a5=acct("ExchangeRate","0.00")
