"""Upbit: public prices through pyupbit, orders and account through upbit-sdk; both are imported only when used."""
